// Checks a dashboard against the schemas of Grafana and of its panels: fields that there are not, or that lack.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	text, err := os.ReadFile(os.Args[1])
	failIf(err)
	var board dashboard.Dashboard
	failIf((&dashboard.Dashboard{}).UnmarshalJSONStrict(text))
	failIf(json.Unmarshal(text, &board))
	failIf(board.Validate())
	panels := 0
	for _, each := range board.Panels {
		if each.Panel != nil {
			panels++
		}
	}
	fmt.Println(panels, "panels")
}

// What is read strictly ends with an empty list of errors where there are none, which is not nil, and leaves panels out.
func failIf(err error) {
	if err != nil && err.Error() != "" {
		fmt.Println(err)
		os.Exit(1)
	}
}
