package project

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"

	"banger/internal/size"

	"github.com/BurntSushi/toml"
)

var (
	goVersion   = regexp.MustCompile(`(?m)^(go|toolchain)[ \t]+(?:go)?(1\.([0-9]{1,3})(?:\.[0-9]{1,3})?)[ \t]*(?://.*)?\r?$`)
	fullVersion = regexp.MustCompile(`^1\.[0-9]+\.[0-9]+$`)
)

// goModule: Debian 12 has Go 1.19, which cannot fetch the version that go.mod names, as Go 1.21 and
// later do (go.dev/doc/toolchain). So there the setup fetches it, as they would: as a module.
func goModule(l *look) {
	if !l.has("go.mod") {
		return
	}
	version, minor := "", 0
	for _, m := range goVersion.FindAllStringSubmatch(string(l.read("go.mod")), -1) {
		if n, _ := strconv.Atoi(m[3]); m[1] == "go" || n > minor {
			version, minor = m[2], n
		}
	}
	reason := "go.mod: Go"
	if version != "" {
		reason += " " + version
	}
	l.install(reason, "golang-go", "git")
	var commands []string
	if minor >= 21 {
		if !fullVersion.MatchString(version) {
			version += ".0"
		}
		l.set("GOTOOLCHAIN", "auto", "Go fetches the version that go.mod names")
		l.why("setup", "a Go before 1.21 cannot fetch Go %s: the setup does", version)
		commands = append(commands, fmt.Sprintf(oldGo, version))
	}
	l.run([]string{"go.mod", "go.sum"}, append(commands, "go mod download")...)
	l.needs(2*size.GiB, "go.mod: the compiler")
}

// oldGo replaces a Go before 1.21. The module cache has no right to execute.
const oldGo = `if go version | grep -qE 'go1\.(1?[0-9]|20)[. ]'; then ` +
	`d=$(cd / && go mod download -json golang.org/toolchain@v0.0.1-go%s.linux-amd64 | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'); ` +
	`chmod -R a+x "$d/bin" "$d/pkg/tool"; ln -sf "$d/bin/go" "$d/bin/gofmt" /usr/local/bin/; fi`

// packageManagers are the values of packageManager that a command may have.
var packageManagers = regexp.MustCompile(`^(npm|pnpm|yarn)@([0-9]{1,4})(\.[0-9]{1,6}){2}`)

func nodePackage(l *look) {
	if !l.has("package.json") {
		return
	}
	var about struct {
		PackageManager string `json:"packageManager"`
		Engines        struct {
			Node string `json:"node"`
		} `json:"engines"`
	}
	if err := json.Unmarshal(l.read("package.json"), &about); err != nil {
		l.notice("package.json was not understood: %v", err)
	}
	reason := "package.json: Node.js"
	if about.Engines.Node != "" {
		reason += fmt.Sprintf(" (engines: %.40q; Debian has its own version)", about.Engines.Node)
	}
	l.install(reason, "nodejs", "npm", "git")
	l.needs(2*size.GiB, "package.json: bundlers and compilers")
	lock := l.first("pnpm-lock.yaml", "yarn.lock", "package-lock.json", "npm-shrinkwrap.json")
	named := packageManagers.FindStringSubmatch(about.PackageManager)
	manager := map[string]string{"pnpm-lock.yaml": "pnpm", "yarn.lock": "yarn"}[lock]
	exact := manager
	if named != nil {
		manager, exact = named[1], named[0]
	}
	l.run([]string{"package.json", lock}, nodeCommands(manager, exact, lock, named)...)
}

func nodeCommands(manager, exact, lock string, named []string) []string {
	switch {
	case manager == "pnpm" && lock == "pnpm-lock.yaml":
		return []string{"npm install --global " + exact, "pnpm install --frozen-lockfile"}
	case manager == "pnpm":
		return []string{"npm install --global " + exact, "pnpm install --no-lockfile"}
	case manager == "yarn" && named != nil && named[2] != "1": // later ones are not npm's package yarn
		return []string{"npm install --global corepack", "corepack enable", "yarn install --immutable"}
	case manager == "yarn":
		return []string{"npm install --global " + exact, "yarn install --frozen-lockfile"}
	case lock == "package-lock.json" || lock == "npm-shrinkwrap.json":
		return []string{"npm ci"}
	}
	return []string{"npm install --no-package-lock"} // a new file would come back from the guest
}

// venv is where Python's packages are: in the workspace they would come back from the guest.
const venv = "/opt/venv"

func python(l *look) {
	name := l.first("uv.lock", "poetry.lock", "requirements.txt", "pyproject.toml")
	if name == "" {
		return
	}
	files := []string{"pyproject.toml", name}
	commands := []string{"python3 -m venv " + venv}
	switch name {
	case "uv.lock":
		commands = append(commands, ownVenv("uv"), "uv sync --frozen")
		l.set("UV_PROJECT_ENVIRONMENT", venv, "uv uses it")
	case "poetry.lock":
		commands = append(commands, ownVenv("poetry"), "poetry install --no-interaction")
	case "requirements.txt":
		files = files[1:]
		commands = append(commands, "pip install -r requirements.txt")
	default:
		var about map[string]any
		if _, err := toml.Decode(string(l.readTOML(name)), &about); err != nil {
			l.notice("pyproject.toml was not understood")
		}
		if about["project"] == nil && about["build-system"] == nil {
			return // settings of formatters alone
		}
		commands = append(commands, "pip install -e .")
	}
	l.install(name+": Python", "python3", "python3-venv")
	l.set("VIRTUAL_ENV", venv, "Python's packages, outside of the workspace")
	l.paths = append(l.paths, venv+"/bin")
	l.run(files, commands...)
}

// ownVenv installs a tool with its own packages: in the workspace's venv it would remove itself, as
// that becomes what the lock file says.
func ownVenv(tool string) string {
	dir := "/opt/" + tool
	return fmt.Sprintf("python3 -m venv %[1]s && %[1]s/bin/pip install %[2]s && ln -s %[1]s/bin/%[2]s /usr/local/bin/", dir, tool)
}

func rust(l *look) {
	if !l.has("Cargo.toml") {
		return
	}
	reason := "Cargo.toml: Rust"
	var about struct {
		Package struct {
			RustVersion any `toml:"rust-version"`
		} `toml:"package"`
	}
	if _, err := toml.Decode(string(l.readTOML("Cargo.toml")), &about); err == nil {
		if version, ok := about.Package.RustVersion.(string); ok {
			reason += fmt.Sprintf(" (rust-version %.20q; Debian has its own version)", version)
		}
	}
	l.install(reason, "cargo", "gcc", "libc6-dev", "pkg-config")
	l.needs(4*size.GiB, "Cargo.toml: the compiler and linker")
	if l.has("Cargo.lock") {
		l.run([]string{"Cargo.lock"}, "cargo fetch --locked")
	}
}

func ruby(l *look) {
	if !l.has("Gemfile") {
		return
	}
	l.install("Gemfile: Ruby, and a compiler for its extensions", "ruby", "ruby-dev", "bundler", "build-essential")
	l.set("BUNDLE_PATH", "/opt/bundle", "gems, outside of the workspace")
	l.run([]string{"Gemfile", "Gemfile.lock"}, "bundle install")
}

func java(l *look) {
	switch {
	case l.has("pom.xml") && l.has("mvnw"):
		l.install("pom.xml: Java", "default-jdk-headless")
		l.run([]string{"pom.xml"}, "sh ./mvnw --batch-mode dependency:go-offline")
	case l.has("pom.xml"):
		l.install("pom.xml: Java", "default-jdk-headless", "maven")
		l.run([]string{"pom.xml"}, "mvn --batch-mode dependency:go-offline")
	case l.first("build.gradle", "build.gradle.kts") != "" && l.has("gradlew"):
		l.install("build.gradle: Java", "default-jdk-headless")
		l.run([]string{"build.gradle", "build.gradle.kts", "gradle/wrapper/gradle-wrapper.properties"}, "sh ./gradlew --no-daemon --quiet help")
	case l.first("build.gradle", "build.gradle.kts") != "":
		l.install("build.gradle: Java, and Debian's Gradle, as there is no gradlew", "default-jdk-headless", "gradle")
	default:
		return
	}
	l.needs(4*size.GiB, "Java's builds")
}

func php(l *look) {
	if !l.has("composer.json") {
		return
	}
	l.install("composer.json: PHP", "php-cli", "php-curl", "php-mbstring", "php-xml", "php-zip", "composer", "git", "unzip")
	l.set("COMPOSER_ALLOW_SUPERUSER", "1", "the setup runs as the guest's root")
	l.run([]string{"composer.json", "composer.lock"}, "composer install --no-interaction")
}

// makefile is last: with a language, make alone is missing.
func makefile(l *look) {
	name := l.first("GNUmakefile", "makefile", "Makefile")
	switch {
	case name == "":
	case len(l.packages) > 0:
		l.install(name, "make")
	default:
		l.install(name, "build-essential")
	}
}

// readTOML is read of a file that package toml can read in a moment.
func (l *look) readTOML(name string) []byte {
	data := l.read(name)
	if deep(string(data)) {
		l.notice("%s was not read: it is nested too deeply", name)
		return nil
	}
	return data
}
