// Package imagetest makes archives, layers and images for tests, hostile ones too.
package imagetest
