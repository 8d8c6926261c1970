package shell

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
)

// repoOption is how protocol 0 names the repository.
const repoOption = "--repo"

// expandHome has a ~ that begins the path of the repository stand for the account's
// home: a pusher leaves it bare, for the shell that it expects here.
func expandHome(words []string) error {
	i, option := repository(words)
	if i == len(words) {
		return nil
	}
	path, err := inHome(words[i][len(option):])
	words[i] = option + path
	return err
}

// repository returns which of the words has the repository, and what stands before it
// in that word; len(words), if there is none.
func repository(words []string) (i int, option string) {
	i = 1 + slices.IndexFunc(words[1:], func(word string) bool {
		return !strings.HasPrefix(word, "-") || word == "-" || word == "--" || word == repoOption || strings.HasPrefix(word, repoOption+"=")
	})
	switch {
	case i == 0:
		return len(words), ""
	case words[i] == "--", words[i] == repoOption:
		return i + 1, ""
	case strings.HasPrefix(words[i], repoOption):
		return i, repoOption + "="
	}
	return i, ""
}

// inHome returns a path with a leading ~ or ~ACCOUNT replaced, as a shell would. The
// homes of other accounts are nothing that a pusher could ask for.
func inHome(path string) (string, error) {
	name, rest, _ := strings.Cut(path, "/")
	if !strings.HasPrefix(name, "~") {
		return path, nil
	}
	var (
		home string
		err  error
	)
	switch own := account(); name[1:] {
	case "":
		home, err = os.UserHomeDir()
	case own:
		home, err = passwdHome()
	default:
		return "", refuse("Repository %s: no home but this account's can be named: ~/ or ~%s/", shown(path), own)
	}
	if err != nil {
		return "", refuse("Repository %s: %v", shown(path), err)
	}
	return filepath.Join(home, rest), nil
}

func passwdHome() (string, error) {
	u, err := user.Current()
	if err != nil {
		return "", err
	}
	return u.HomeDir, nil
}
