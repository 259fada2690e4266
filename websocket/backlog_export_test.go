package websocket

// Waiting tells how many frames wait for c's peer, what they count and whether its
// water marks are those of a slow peer.
func (c *Conn) Waiting() (frames, bytes int, raised bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.out()
	if o == nil {
		return 0, 0, false
	}
	return len(o.held), o.bytes, o.raised
}

// Joined tells in how many groups c is, and for how many its list has room.
func (c *Conn) Joined() (groups, room int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.more == nil {
		return 0, 0
	}
	return len(c.more.joins), cap(c.more.joins)
}

// Loops tells on how many loops g has a part.
func (g *Group) Loops() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.shards)
}

// Compressed returns p's compressed frames by the bits of their windows.
func (p *Prepared) Compressed() map[int][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	frames := make(map[int][]byte)
	for bits, frame := range p.small {
		if frame != nil {
			frames[bits] = frame
		}
	}
	return frames
}
