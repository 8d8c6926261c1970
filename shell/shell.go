// Package shell will be the restricted login shell, ostree-receive-shell: the
// programs that a pusher may run on a server, and nothing else.
package shell
