package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

// httpServe is a program for scripts that serves the directory DIR, on a free
// port of loopback only, and writes the URL to FILE when it can be connected to:
//
//	http-serve DIR FILE
func httpServe() {
	if err := serveDir(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "http-serve:", err)
		os.Exit(1)
	}
}

func serveDir(dir, file string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	// Whoever waits for the file must not see half of it.
	if err := os.WriteFile(file+".new", []byte("http://"+l.Addr().String()), 0o644); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return err
	}
	files := http.FileServer(http.Dir(dir))
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A script is fast enough to change a file twice in a second, which a
		// time in HTTP does not show.
		r.Header.Del("If-Modified-Since")
		files.ServeHTTP(w, r)
	}))
}
