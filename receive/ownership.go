package receive

import (
	"fmt"
	"os/user"
)

// accountName returns the name of an account, or its number if it has none.
func accountName(uid uint32) string {
	number := fmt.Sprint(uid)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}
