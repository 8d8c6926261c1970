package ostree

// #include "version.h"
import "C"

import (
	"fmt"
)

// Version returns the version of the libostree that the program runs with, such as "2022.7". It may be
// newer than the one that the program was built with.
func Version() string {
	var year, release C.guint
	C.op_version(&year, &release)
	return fmt.Sprintf("%d.%d", year, release)
}
