// A Vault server for the tests: the command of HashiCorp Vault, without what go.mod and the tag «minimal» leave out.
package main

import (
	"os"

	"github.com/hashicorp/vault/command"
)

func main() {
	os.Exit(command.Run(os.Args[1:]))
}
