package sluice

// Done returns a channel that is closed when the engine has ended, after which
// Wait does not block.
func (e *Engine) Done() <-chan struct{} { return e.ended }
