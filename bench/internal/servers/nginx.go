package servers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// nginxConfig has no master process, so that processor time and memory are
// those of one process, and never ends a connection by itself. Its paths are
// those of the directory of the file.
const nginxConfig = `daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile %d;
pid nginx.pid;
error_log stderr;
events {
	worker_connections %[1]d;
}
http {
	access_log off;
	server_tokens off;
	keepalive_timeout 1h;
	keepalive_requests 1000000000;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	server {
		listen %[2]s backlog=%[3]d;
		location = %[4]s {
			default_type %[5]s;
			return 200 "%[6]s";
		}
	}
}
`

// nginxConnections is what nginx has memory for, from its start: well more than
// are measured, since it closes idle ones when few places are left.
const nginxConnections = 24000

// nginxCommand writes a configuration file for each address.
func nginxCommand(dir, addr string) ([]string, error) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		return nil, fmt.Errorf("install nginx, or put it into PATH, to measure it: %w", err)
	}
	file := filepath.Join(dir, "nginx-"+strings.ReplaceAll(addr, ":", "-")+".conf")
	config := fmt.Sprintf(nginxConfig, nginxConnections, addr, backlog, PlainPath, contentType, greeting)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	// One process has one loop: on more cores than one it would be behind for
	// no fault of its own.
	const start = `[ "${GOMAXPROCS:-1}" = 1 ] || { echo "nginx is measured on one core only"; exit 1; }; exec "$@"`
	return []string{"sh", "-c", start, "sh", program, "-p", dir, "-c", file, "-e", "stderr"}, nil
}
