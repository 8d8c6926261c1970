package sign

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
)

// spkiFiles is libostree's spki, whose keys are what OpenSSL writes.
func spkiFiles() keyfileSystem { return keyfileSystem{signType: "spki", pem: true} }

func readPEM(file, content string) ([]string, error) {
	var found []string
	rest := []byte(content)
	for {
		block, next := pem.Decode(rest)
		if block == nil {
			break
		}
		found = append(found, base64.StdEncoding.EncodeToString(block.Bytes))
		rest = next
	}
	if strings.Contains(string(rest), "-----BEGIN ") {
		return nil, fmt.Errorf("%s: damaged PEM", file)
	}
	return found, nil
}
