package http1

import "strconv"

// AppendRequestLine appends the request line of a request of HTTP/1.1 (RFC 9112
// 3). The method must be a ValidMethod and the target must not hold spaces or
// control characters; neither is checked.
func AppendRequestLine(dst []byte, method, target string) []byte {
	dst = append(dst, method...)
	dst = append(dst, ' ')
	dst = append(dst, target...)
	return append(dst, " HTTP/1.1\r\n"...)
}

// AppendStatusLine appends the status line of a response of HTTP/1.minor
// (RFC 9112 4). The status is one of three digits; an empty reason means that
// of StatusText. The reason must be a ValidValue, which is not checked.
func AppendStatusLine(dst []byte, minor, status int, reason string) []byte {
	dst = append(dst, "HTTP/1."...)
	dst = strconv.AppendInt(dst, int64(minor), 10)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	if reason == "" {
		reason = StatusText(status)
	}
	dst = append(dst, reason...)
	return append(dst, "\r\n"...)
}

// AppendField appends a field line (RFC 9112 5). The name must be a ValidName
// and the value a ValidValue; neither is checked, for many are constants. An
// empty line, CR LF, ends a head.
func AppendField(dst []byte, name, value string) []byte {
	return appendField(dst, name, value)
}

// AppendFieldBytes is AppendField for slices.
func AppendFieldBytes(dst, name, value []byte) []byte {
	return appendField(dst, name, value)
}

func appendField[T string | []byte](dst []byte, name, value T) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}
