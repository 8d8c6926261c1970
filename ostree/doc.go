// Package ostree is a small Go API over libostree: what pushing and receiving
// need, and no more. It is the only package of the program that uses cgo.
//
// Everything a function returns has been copied into Go memory, except what
// Repo, Transaction and Commit own, and they say how it is given back. All
// functions that can block take a context and end with an error that is
// ErrCancelled when it is done.
//
// The behaviour described here is that of libostree 2021.3 and later:
// https://ostreedev.github.io/ostree/reference/.
package ostree
