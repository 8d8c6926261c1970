// Package ostree is a small Go API over libostree 2021.3 and later
// (https://ostreedev.github.io/ostree/reference/): repositories, their refs, commits, objects,
// signatures and summaries, as far as pushing and receiving need them, and the coding of the arguments
// of protocol 0, which are GVariants. It is the only package of the program that uses cgo.
//
// # Ownership
//
// Whoever gets a Repo, a Commit, a Sign, or a reader of OpenContent closes it with Close; a Transaction
// ends with Commit or Abort, before its Repo is closed; what LockShared locks is unlocked with the
// function that it returns. There are no finalizers. All else that a function returns is Go memory, and
// what a function is given is copied where C keeps it.
//
// # Threads
//
// Any number of goroutines may use one Repo, which has one Transaction at a time. Import may be called by
// any number of goroutines at once; the other methods of a Transaction, and those of a Commit, a Sign and a
// reader, are for one goroutine at a time.
//
// A function that can block takes a context. When the context is done, libostree notices between two steps of
// its work, and the function returns an error that is ErrCancelled.
package ostree
