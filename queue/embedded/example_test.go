package embedded_test

import (
	"fmt"

	"github.com/ginfer/ginfer/queue/embedded"
)

// Three gateways that make a cluster of their own.
func ExampleNew() {
	peers := []string{"10.0.0.1:6222", "10.0.0.2:6222", "10.0.0.3:6222"}
	_, err := embedded.New(embedded.Config{
		Dir:    "/var/lib/gateway/queue",
		Listen: "10.0.0.1:4222",
		Secret: "from the environment",
		Cluster: &embedded.Cluster{
			Server: "gateway-1", Listen: "10.0.0.1:6222", Peers: peers,
		},
	})
	fmt.Println(err)
	_, err = embedded.New(embedded.Config{Dir: "/var/lib/gateway/queue", Listen: "0.0.0.0:4222"})
	fmt.Println(err)
	// Output:
	// <nil>
	// embedded: Config.Listen "0.0.0.0:4222" can be reached from outside: Config.Secret is required
}
