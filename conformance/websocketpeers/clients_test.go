package websocketpeers

import (
	"path/filepath"
	"testing"

	"github.com/sluice-go/sluice"
)

func TestPythonClient(t *testing.T) {
	t.Parallel()
	program := python(t)
	eachWorld(t, func(t *testing.T, e *sluice.Engine, secure bool) {
		s := startServer(t, e, secure)
		client := start(t, []string{"SSL_CERT_FILE=" + s.id.cert}, program, "testdata/client.py", s.webSocketURL())
		client.report(t, client.lines)
		client.stop()
		nothingLeft(t, e)
	})
}

func TestNodeClient(t *testing.T) {
	t.Parallel()
	program, env := node(t)
	eachWorld(t, func(t *testing.T, e *sluice.Engine, secure bool) {
		s := startServer(t, e, secure)
		client := start(t, append(env, "NODE_EXTRA_CA_CERTS="+s.id.cert), program, "testdata/client.cjs", s.webSocketURL())
		client.report(t, client.lines)
		client.stop()
		nothingLeft(t, e)
	})
}

func TestChromiumClient(t *testing.T) {
	t.Parallel()
	program := chromium(t)
	eachWorld(t, func(t *testing.T, e *sluice.Engine, secure bool) {
		s := startServer(t, e, secure)
		dir := scratch(t)
		client := start(t, []string{"HOME=" + dir, "TMPDIR=" + dir}, program, "--headless",
			"--no-sandbox",            // which root may not have
			"--disable-dev-shm-usage", // which is small in a container
			"--disable-gpu", "--no-first-run", "--user-data-dir="+filepath.Join(dir, "profile"),
			// It is to talk to this server alone, and the certificate is its own.
			"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-features=MediaRouter",
			"--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--ignore-certificate-errors",
			s.url+"/client.html")
		client.report(t, s.results)
		client.stop()
		nothingLeft(t, e)
	})
}
