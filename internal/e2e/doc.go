// Package e2e tests the packages together and with real clients. Its dependencies are too
// heavy for the tests of public packages.
package e2e
