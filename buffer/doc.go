// Package buffer holds bytes between a socket and the code that uses them
// without copying them on the way.
//
// A [LinkBuffer] is a queue of bytes. They lie in a list of pieces, mostly of
// [Block]s, which are counted references to memory from a [Pool].
//
// # Reading
//
// Reading has two steps, reference reading and release. Peek, Next, Until and
// Bytes lend the bytes where they lie, and Buffers lends all pieces. Such a
// slice is valid until the buffer's Release or Close, whatever else is done to
// the buffer meanwhile; after that its memory belongs to somebody else. It is
// read-only: the same memory may be on its way to another connection. What is
// needed for longer is either copied or, as bytes of another LinkBuffer, moved
// there by Slice, which keeps the blocks alive without a copy.
//
// Release gives back the blocks of what was consumed, not of what is unread.
// An empty buffer owns nothing after it, so that an idle connection costs no
// memory. Read, which copies, and Skip need no Release as long as nothing is
// lent.
//
// # Writing
//
// Write copies to the end of the buffer. Malloc reserves room there, to be
// filled in place. Append and AppendBlock link bytes that exist already, and so
// does AppendBuffer with large pieces. Buffers shows what there is to send; Skip and Release follow when it
// is sent. More may be written meanwhile: bytes once written never move or
// change while they are unread and nobody peeks over a seam.
//
// # Ownership
//
//   - A LinkBuffer belongs to one goroutine at a time. Blocks may be shared by
//     many, under one rule: nobody writes to bytes that were handed out.
//   - A LinkBuffer writes only into blocks that it took from its pool itself or
//     that came to it, whole and unlent, by Slice or AppendBuffer; and there
//     only behind everything that was ever written.
//   - A piece pins the whole block it lies in: 10 bytes of a 64 KiB block hold
//     64 KiB. Compact is for a buffer that is to rest in such a state, and
//     AppendBuffer copies such pieces.
//   - Memory given to Append stays the caller's; the buffer forgets it when it
//     is consumed and released.
//   - Every block is counted. [Pool.Live] is 0 when all buffers are closed and
//     all references released.
package buffer
