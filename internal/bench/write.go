package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// The files of the project that show results. Bench has to be run where they
// are.
const (
	readme   = "README.md"
	document = "docs/benchmark.md"
	plotFile = "docs/benchmark.svg"
)

// Results stand between these lines, and nothing else does.
const (
	opening = "<!-- bench -->\n"
	closing = "<!-- /bench -->\n"
)

// writeDocs puts the results into the project's files; what draws is in the directory
// drawer.
func writeDocs(res *results, drawer string) error {
	var svg bytes.Buffer
	if err := drawPlot(&svg, res, drawer); err != nil {
		return err
	}
	if err := os.WriteFile(plotFile, svg.Bytes(), 0o644); err != nil {
		return err
	}
	return errors.Join(
		fillIn(document, func(w io.Writer) {
			fmt.Fprintf(w, "![Time against round-trip time](benchmark.svg)\n\n")
			printReport(w, res)
		}),
		fillIn(readme, func(w io.Writer) { printSummary(w, res) }),
	)
}

// checkDocs tells of a file that cannot be filled in before hours were spent.
func checkDocs() error {
	for _, file := range []string{document, readme} {
		text, err := os.ReadFile(file)
		if err == nil {
			_, err = replaceBlock(string(text), "")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

func fillIn(file string, print func(io.Writer)) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var block strings.Builder
	print(&block)
	filled, err := replaceBlock(string(text), block.String())
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(filled), 0o644)
}

// replaceBlock returns a text with another block between its marks.
func replaceBlock(text, block string) (string, error) {
	before, rest, ok := strings.Cut(text, opening)
	_, after, ok2 := strings.Cut(rest, closing)
	if !ok || !ok2 {
		return "", fmt.Errorf("there are no lines %q and %q", opening, closing)
	}
	return before + opening + block + closing + after, nil
}
