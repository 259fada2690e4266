// Package websocketpeers tests Sluice's WebSockets against programs that others
// wrote: the websockets library of Python, the npm package ws and Chromium. It has
// tests only.
//
// The cases are in testdata, one script for each client, and one for each server.
// Where a program is not installed its test is skipped, unless
// SLUICE_REQUIRE_TOOLS=1. The package ws is looked for where .ci/run installs it,
// below sluice/npm in the user's cache directory, where NODE_PATH leads and where
// Debian's node-ws is.
package websocketpeers
