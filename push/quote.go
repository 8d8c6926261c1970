package push

import (
	"regexp"
	"strings"
)

// remoteCommand returns the line for the remote shell that runs command (which
// the user may have written with arguments) with args: every word is quoted,
// so that it reaches the program as it is.
func remoteCommand(command []string, args []string) string {
	words := make([]string, 0, len(command)+len(args))
	for _, word := range command {
		words = append(words, quote(word))
	}
	for _, arg := range args {
		words = append(words, quotePath(arg))
	}
	return strings.Join(words, " ")
}

var (
	plainWord = regexp.MustCompile(`\A[-A-Za-z0-9_@%+=:,./]+\z`)
	// homePath is a path that begins in a home directory, which only the
	// remote shell can find.
	homePath = regexp.MustCompile(`\A~(?:[A-Za-z0-9_.][A-Za-z0-9_.-]*)?(?:/|\z)`)
)

func quote(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// quotePath is quote, but leaves a leading ~/ or ~user/ to the shell.
func quotePath(word string) string {
	home := homePath.FindString(word)
	if rest := word[len(home):]; rest != "" {
		return home + quote(rest)
	}
	if home != "" {
		return home
	}
	return quote(word)
}
