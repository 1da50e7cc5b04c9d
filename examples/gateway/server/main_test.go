package server_test

import (
	"testing"

	"github.com/ginfer/ginfer/examples/gateway/gatewaytest"
)

func TestMain(m *testing.M) { gatewaytest.Main(m) }
