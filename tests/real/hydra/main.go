// Ory Hydra as its own main package builds it. `go install` refuses a module whose go.mod has
// replacements, so this one repeats them.
package main

import "github.com/ory/hydra/v2/cmd"

func main() {
	cmd.Execute()
}
