package marks

// rule marks the files at a place. A pattern that begins with a slash is of the top directory;
// others are of any directory. "**" at the end is all below a directory. The case of letters
// does not count, since it does not on some of the file systems that a tree can get to.
type rule struct {
	at  string
	why string
	// keys are of a JSON object: the file is marked if the value of one of them changed.
	keys []string
}

// rules are the files that a program on the host runs without being asked for them by name, or
// that a developer runs by habit. The link says where the program's documentation says so.
var rules = []rule{
	// Git.
	{at: ".githooks/**", why: "git runs hooks in it, if core.hooksPath names it"},                     // https://git-scm.com/docs/githooks
	{at: ".husky/**", why: "Husky has git run it as a hook"},                                          // https://typicode.github.io/husky/get-started.html
	{at: "lefthook*.*ml", why: "Lefthook has git run its commands as hooks"},                          // https://lefthook.dev/usage/commands.html
	{at: ".lefthook*.*ml", why: "Lefthook has git run its commands as hooks"},                         // as above
	{at: ".lefthook/**", why: "Lefthook has git run it as a hook"},                                    // as above
	{at: "hk.pkl", why: "hk has git run its steps as hooks"},                                          // https://hk.jdx.dev/cli/install.html
	{at: ".pre-commit-config.yaml", why: "pre-commit runs the programs that it names at each commit"}, // https://pre-commit.com/#plugins
	{at: ".pre-commit-hooks.yaml", why: "pre-commit runs the programs that it names"},                 // https://pre-commit.com/#new-hooks
	{at: ".gitattributes", why: "it decides which of your filters and merge programs git runs"},       // https://git-scm.com/docs/gitattributes
	{at: ".gitmodules", why: "git submodule update fetches what it names"},                            // https://git-scm.com/docs/gitmodules
	{at: ".lfsconfig", why: "git-lfs sends to and fetches from the server that it names"},             // https://github.com/git-lfs/git-lfs/blob/main/docs/man/git-lfs-config.adoc

	// Shells.
	{at: ".envrc", why: "direnv runs it when you enter the directory"},                                  // https://direnv.net/#how-it-works
	{at: ".env", why: "many programs and shells take their environment from it"},                        // https://github.com/ohmyzsh/ohmyzsh/tree/master/plugins/dotenv
	{at: "mise*.toml", why: "mise sets variables and runs its hooks when you enter the directory"},      // https://mise.jdx.dev/hooks.html
	{at: ".mise*.toml", why: "mise sets variables and runs its hooks when you enter the directory"},     // as above
	{at: ".config/mise/**", why: "mise sets variables and runs its hooks when you enter the directory"}, // https://mise.jdx.dev/configuration.html
	{at: ".tool-versions", why: "asdf and mise choose programs by it"},                                  // https://asdf-vm.com/manage/configuration.html
	{at: "flake.nix", why: "nix develop and direnv evaluate and run it"},                                // https://nix.dev/manual/nix/latest/command-ref/new-cli/nix3-flake
	{at: "shell.nix", why: "nix-shell runs its shellHook"},                                              // https://nix.dev/manual/nix/latest/command-ref/nix-shell
	{at: "devbox.json", why: "devbox shell runs its init_hook"},                                         // https://www.jetify.com/docs/devbox/configuration/
	{at: "banger.toml", why: "banger up runs its setup, and takes ports and sizes from it"},

	// Editors.
	{at: ".vscode/tasks.json", why: "VS Code runs its tasks, some when the folder is opened"},              // https://code.visualstudio.com/docs/debugtest/tasks#_run-behavior
	{at: ".vscode/launch.json", why: "VS Code runs it to debug"},                                           // https://code.visualstudio.com/docs/debugtest/debugging-configuration
	{at: ".vscode/settings.json", why: "VS Code's settings name programs that its extensions run"},         // https://code.visualstudio.com/docs/editing/workspaces/workspace-trust
	{at: ".vscode/extensions.json", why: "VS Code offers to install what it names"},                        // https://code.visualstudio.com/docs/configure/extensions/extension-marketplace
	{at: ".vscode/mcp.json", why: "VS Code starts the servers that it names"},                              // https://code.visualstudio.com/docs
	{at: "*.code-workspace", why: "VS Code takes tasks and settings from it"},                              // https://code.visualstudio.com/docs/editing/workspaces/multi-root-workspaces
	{at: ".idea/**", why: "JetBrains' editors take run configurations and programs from it"},               // https://www.jetbrains.com/help/idea/project-security.html
	{at: ".run/**", why: "JetBrains' editors take run configurations from it"},                             // https://www.jetbrains.com/help/idea/run-debug-configuration.html
	{at: ".devcontainer/**", why: "a development container is built from it, with commands on the host"},   // https://containers.dev/implementors/json_reference/#lifecycle-scripts
	{at: ".devcontainer.json", why: "a development container is built from it, with commands on the host"}, // as above
	{at: ".exrc", why: "Vim runs it, if exrc is set"},                                                      // https://vimhelp.org/options.txt.html#%27exrc%27
	{at: ".nvim.lua", why: "Neovim runs it, if exrc is set"},                                               // https://neovim.io/doc/user/options.html#'exrc'
	{at: ".nvimrc", why: "Neovim runs it, if exrc is set"},                                                 // as above
	{at: ".dir-locals.el", why: "Emacs takes variables and code from it"},                                  // https://www.gnu.org/software/emacs/manual/html_node/emacs/Directory-Variables.html
	{at: ".zed/**", why: "Zed takes tasks and programs from it"},                                           // https://zed.dev/docs/tasks
	{at: "*.sublime-project", why: "Sublime Text takes build commands from it"},                            // as above

	// Programs that have a directory of their own in a project: coding agents, formatters, watchers.
	{at: ".mcp.json", why: "coding agents start the servers that it names"},                              // https://modelcontextprotocol.io/docs/develop/connect-local-servers
	{at: "AGENTS.md", why: "coding agents follow its instructions"},                                      // https://agents.md
	{at: "/.*/settings.local.json", why: "the program that has this directory may run what it names"},    // a convention, not one documentation
	{at: "/.*/mcp.json", why: "the program that has this directory may start the servers that it names"}, // a convention, not one documentation
	{at: "/.*/hooks/**", why: "the program that has this directory may run it"},                          // a convention, not one documentation
	{at: "/.*/hooks.json", why: "the program that has this directory may run what it names"},             // a convention, not one documentation
	{at: "/.*/commands/**", why: "the program that has this directory may run it"},                       // a convention, not one documentation
	{at: "/.*/settings.json", why: "the program that has this directory may run what it names"},          // a convention, not one documentation
	{at: "/.*/config.toml", why: "the program that has this directory may run what it names"},            // a convention, not one documentation

	// Builds, of any language.
	{at: "Makefile", why: "make runs it"},                                                                 // https://www.gnu.org/software/make/manual/html_node/Makefile-Names.html
	{at: "GNUmakefile", why: "make runs it"},                                                              // as above
	{at: "*.mk", why: "makefiles include it"},                                                             // https://www.gnu.org/software/make/manual/html_node/Include.html
	{at: "justfile", why: "just runs it"},                                                                 // https://just.systems/man/en/
	{at: ".justfile", why: "just runs it"},                                                                // as above
	{at: "Taskfile.yml", why: "task runs it"},                                                             // https://taskfile.dev/docs/guide
	{at: "Taskfile.yaml", why: "task runs it"},                                                            // as above
	{at: "CMakeLists.txt", why: "cmake runs it"},                                                          // https://cmake.org/cmake/help/latest/manual/cmake-language.7.html
	{at: "CMakePresets.json", why: "cmake takes programs and variables from it"},                          // https://cmake.org/cmake/help/latest/manual/cmake-presets.7.html
	{at: "*.cmake", why: "cmake runs it"},                                                                 // https://cmake.org/cmake/help/latest/command/include.html
	{at: "meson.build", why: "meson runs it"},                                                             // https://mesonbuild.com/Syntax.html
	{at: "configure", why: "the first step of many builds runs it"},                                       // https://www.gnu.org/software/autoconf/manual/autoconf.html
	{at: "configure.ac", why: "configure is made from it"},                                                // as above
	{at: "SConstruct", why: "scons runs it"},                                                              // https://scons.org/doc/production/HTML/scons-user.html
	{at: "BUILD", why: "bazel runs its rules"},                                                            // https://bazel.build/concepts/build-files
	{at: "BUILD.bazel", why: "bazel runs its rules"},                                                      // as above
	{at: "MODULE.bazel", why: "bazel fetches and runs what it names"},                                     // https://bazel.build/external/module
	{at: ".bazelrc", why: "bazel takes options and programs from it"},                                     // https://bazel.build/run/bazelrc
	{at: "WORKSPACE", why: "bazel fetches and runs what it names"},                                        // https://bazel.build/external/overview
	{at: "Dockerfile", why: "a container's build runs it"},                                                // https://docs.docker.com/reference/dockerfile/
	{at: "*.dockerfile", why: "a container's build runs it"},                                              // as above
	{at: "Containerfile", why: "a container's build runs it"},                                             // https://docs.podman.io/en/latest/markdown/podman-build.1.html
	{at: "compose.yaml", why: "compose starts containers with directories of the host as it says"},        // https://docs.docker.com/reference/compose-file/
	{at: "compose.yml", why: "compose starts containers with directories of the host as it says"},         // as above
	{at: "docker-compose.yml", why: "compose starts containers with directories of the host as it says"},  // as above
	{at: "docker-compose.yaml", why: "compose starts containers with directories of the host as it says"}, // as above
	{at: "Vagrantfile", why: "vagrant runs it"},                                                           // https://developer.hashicorp.com/vagrant/docs/vagrantfile
	{at: "Procfile", why: "foreman and others run its commands"},                                          // https://devcenter.heroku.com/articles/procfile
	{at: "Tiltfile", why: "tilt runs it"},                                                                 // https://docs.tilt.dev/api.html

	// JavaScript.
	{at: "package.json", why: "npm runs its scripts, some at each npm install", keys: []string{"scripts"}}, // https://docs.npmjs.com/cli/v11/using-npm/scripts
	{at: "deno.json", why: "deno task runs its tasks", keys: []string{"tasks"}},                            // https://docs.deno.com/runtime/reference/cli/task/
	{at: "binding.gyp", why: "npm install builds it"},                                                      // https://docs.npmjs.com/cli/v11/using-npm/scripts#best-practices
	{at: ".npmrc", why: "npm takes registries, programs and options from it"},                              // https://docs.npmjs.com/cli/v11/configuring-npm/npmrc
	{at: ".yarnrc*", why: "yarn runs the program that it names"},                                           // https://yarnpkg.com/configuration/yarnrc#yarnPath
	{at: ".yarn/**", why: "yarn runs releases and plugins in it"},                                          // https://yarnpkg.com/configuration/yarnrc#plugins
	{at: ".pnpmfile.cjs", why: "pnpm install runs it"},                                                     // https://pnpm.io/pnpmfile
	{at: "bunfig.toml", why: "bun runs what it preloads"},                                                  // https://bun.com/docs/runtime/bunfig
	{at: "*.config.js", why: "the program that it configures runs it"},                                     // https://vite.dev/config/
	{at: "*.config.cjs", why: "the program that it configures runs it"},                                    // https://eslint.org/docs/latest/use/configure/configuration-files
	{at: "*.config.mjs", why: "the program that it configures runs it"},                                    // as above
	{at: "*.config.ts", why: "the program that it configures runs it"},                                     // as above
	{at: ".eslintrc.js", why: "ESLint runs it, in editors at once"},                                        // https://eslint.org/docs/latest/use/configure/configuration-files-deprecated
	{at: "gulpfile.js", why: "gulp runs it"},                                                               // https://gulpjs.com/docs/en/getting-started/javascript-and-gulpfiles
	{at: "Gruntfile.js", why: "grunt runs it"},                                                             // https://gruntjs.com/sample-gruntfile

	// Python.
	{at: "pyproject.toml", why: "pip and others run the build that it names"}, // https://packaging.python.org/en/latest/specifications/pyproject-toml/
	{at: "setup.py", why: "pip install runs it"},                              // https://setuptools.pypa.io/en/latest/userguide/quickstart.html
	{at: "setup.cfg", why: "pip install runs the build that it configures"},   // https://setuptools.pypa.io/en/latest/userguide/declarative_config.html
	{at: "conftest.py", why: "pytest runs it before any test"},                // https://docs.pytest.org/en/stable/how-to/writing_plugins.html#conftest-py-local-per-directory-plugins
	{at: "pytest.ini", why: "pytest loads the plugins that it names"},         // https://docs.pytest.org/en/stable/reference/customize.html
	{at: "tox.ini", why: "tox runs its commands"},                             // https://tox.wiki/en/stable/config.html
	{at: "noxfile.py", why: "nox runs it"},                                    // https://nox.thea.codes/en/stable/config.html
	{at: "sitecustomize.py", why: "every Python runs it that finds it"},       // https://docs.python.org/3/library/site.html#module-sitecustomize
	{at: "usercustomize.py", why: "every Python runs it that finds it"},       // https://docs.python.org/3/library/site.html#module-usercustomize
	{at: "*.pth", why: "Python runs lines of it at its start"},                // https://docs.python.org/3/library/site.html
	{at: "tasks.py", why: "invoke runs it"},                                   // https://docs.pyinvoke.org/en/stable/concepts/loading.html
	{at: "manage.py", why: "Django's commands run it"},                        // https://docs.djangoproject.com/en/stable/ref/django-admin/

	// Rust, Go, Java, .NET, Ruby, PHP and others.
	{at: "build.rs", why: "cargo build runs it, and editors do at once"},                                      // https://doc.rust-lang.org/cargo/reference/build-scripts.html
	{at: ".cargo/config.toml", why: "cargo takes programs and options from it"},                               // https://doc.rust-lang.org/cargo/reference/config.html
	{at: ".cargo/config", why: "cargo takes programs and options from it"},                                    // as above
	{at: "Cargo.toml", why: "it names the build script and the dependencies, whose build scripts cargo runs"}, // https://doc.rust-lang.org/cargo/reference/manifest.html#the-build-field
	{at: "rust-toolchain.toml", why: "rustup installs and runs the toolchain that it names"},                  // https://rust-lang.github.io/rustup/overrides.html#the-toolchain-file
	{at: "rust-toolchain", why: "rustup installs and runs the toolchain that it names"},                       // as above
	{at: "go.work", why: "go builds the modules that it names"},                                               // https://go.dev/ref/mod#workspaces
	{at: "magefile.go", why: "mage runs it"},                                                                  // https://magefile.org/magefiles/
	{at: "build.gradle", why: "gradle runs it, and editors do at once"},                                       // https://docs.gradle.org/current/userguide/writing_build_scripts.html
	{at: "build.gradle.kts", why: "gradle runs it, and editors do at once"},                                   // as above
	{at: "settings.gradle", why: "gradle runs it, and editors do at once"},                                    // as above
	{at: "settings.gradle.kts", why: "gradle runs it, and editors do at once"},                                // as above
	{at: "gradle-wrapper.properties", why: "gradlew fetches and runs what it names"},                          // https://docs.gradle.org/current/userguide/gradle_wrapper.html
	{at: "gradle-wrapper.jar", why: "gradlew runs it"},                                                        // as above
	{at: "pom.xml", why: "maven runs the plugins that it names"},                                              // https://maven.apache.org/guides/introduction/introduction-to-the-lifecycle.html
	{at: ".mvn/**", why: "maven takes extensions and options from it"},                                        // https://maven.apache.org/configure.html
	{at: "build.xml", why: "ant runs it"},                                                                     // https://ant.apache.org/manual/using.html
	{at: "build.sbt", why: "sbt runs it"},                                                                     // https://www.scala-sbt.org/1.x/docs/Basic-Def.html
	{at: "Directory.Build.*", why: "every build of .NET below it runs it"},                                    // https://learn.microsoft.com/visualstudio/msbuild/customize-by-directory
	{at: "*.csproj", why: "dotnet build runs its targets"},                                                    // https://learn.microsoft.com/visualstudio/msbuild/msbuild-targets
	{at: "nuget.config", why: "dotnet restore fetches from where it says"},                                    // https://learn.microsoft.com/nuget/reference/nuget-config-file
	{at: "Rakefile", why: "rake runs it"},                                                                     // https://ruby.github.io/rake/doc/rakefile_rdoc.html
	{at: "Gemfile", why: "bundler runs it"},                                                                   // https://bundler.io/man/gemfile.5.html
	{at: "*.gemspec", why: "bundler and gem run it"},                                                          // https://guides.rubygems.org/specification-reference/
	{at: "extconf.rb", why: "gem install runs it"},                                                            // https://guides.rubygems.org/gems-with-extensions/
	{at: ".irbrc", why: "irb runs it"},                                                                        // https://docs.ruby-lang.org/en/master/IRB.html
	{at: "composer.json", why: "composer runs its scripts", keys: []string{"scripts", "config"}},              // https://getcomposer.org/doc/articles/scripts.md
	{at: "mix.exs", why: "mix runs it"},                                                                       // https://hexdocs.pm/mix/Mix.html
	{at: "Package.swift", why: "swift build runs it"},                                                         // https://docs.swift.org/package-manager/PackageDescription/PackageDescription.html
	{at: "build.zig", why: "zig build runs it"},                                                               // https://ziglang.org/learn/build-system/
	{at: "dune", why: "dune runs its rules"},                                                                  // https://dune.readthedocs.io/en/stable/reference/dune/rule.html
	{at: ".ghci", why: "ghci runs it"},                                                                        // https://downloads.haskell.org/ghc/latest/docs/users_guide/ghci.html#the-ghci-and-haskeline-files
	{at: ".Rprofile", why: "R runs it at its start"},                                                          // https://stat.ethz.ch/R-manual/R-devel/library/base/html/Startup.html
	{at: ".gdbinit", why: "gdb runs it, if it is allowed to"},                                                 // https://sourceware.org/gdb/current/onlinedocs/gdb.html/Init-File-in-the-Current-Directory.html
	{at: ".lldbinit", why: "lldb runs it, if it is allowed to"},                                               // https://lldb.llvm.org/man/lldb.html#configuration-files

	// Services that build what is pushed, with their own secrets.
	{at: "/.github/workflows/**", why: "GitHub runs it when it is pushed"},         // https://docs.github.com/en/actions/concepts/workflows-and-actions/workflows
	{at: "/.github/actions/**", why: "workflows of GitHub run it"},                 // https://docs.github.com/en/actions/concepts/workflows-and-actions/custom-actions
	{at: "/.gitlab-ci.yml", why: "GitLab runs it when it is pushed"},               // https://docs.gitlab.com/ci/
	{at: "/.gitlab/ci/**", why: "GitLab's pipelines include it"},                   // https://docs.gitlab.com/ci/yaml/includes/
	{at: "/.circleci/**", why: "CircleCI runs it when it is pushed"},               // https://circleci.com/docs/configuration-reference/
	{at: "/.travis.yml", why: "Travis CI runs it when it is pushed"},               // https://docs.travis-ci.com/user/customizing-the-build
	{at: "/azure-pipelines.yml", why: "Azure Pipelines runs it when it is pushed"}, // https://learn.microsoft.com/azure/devops/pipelines/get-started/what-is-azure-pipelines
	{at: "/bitbucket-pipelines.yml", why: "Bitbucket runs it when it is pushed"},   // https://support.atlassian.com/bitbucket-cloud/docs/bitbucket-pipelines-configuration-reference/
	{at: "/.buildkite/**", why: "Buildkite runs it when it is pushed"},             // https://buildkite.com/docs/pipelines/configure
	{at: "/.drone.yml", why: "Drone runs it when it is pushed"},                    // https://docs.drone.io/pipeline/overview/
	{at: "/.woodpecker/**", why: "Woodpecker runs it when it is pushed"},           // https://woodpecker-ci.org/docs/usage/intro
	{at: "/.woodpecker.yml", why: "Woodpecker runs it when it is pushed"},          // as above
	{at: "/.forgejo/workflows/**", why: "Forgejo runs it when it is pushed"},       // https://forgejo.org/docs/latest/user/actions/
	{at: "/.gitea/workflows/**", why: "Gitea runs it when it is pushed"},           // https://docs.gitea.com/usage/actions/overview
	{at: "/.cirrus.yml", why: "Cirrus CI runs it when it is pushed"},               // https://cirrus-ci.org/guide/writing-tasks/
	{at: "/appveyor.yml", why: "AppVeyor runs it when it is pushed"},               // https://www.appveyor.com/docs/appveyor-yml/
	{at: "/.builds/**", why: "SourceHut runs it when it is pushed"},                // https://man.sr.ht/builds.sr.ht/
	{at: "/.build.yml", why: "SourceHut runs it when it is pushed"},                // as above
	{at: "Jenkinsfile", why: "Jenkins runs it when it is pushed"},                  // https://www.jenkins.io/doc/book/pipeline/jenkinsfile/
	{at: "/CODEOWNERS", why: "it decides who has to review changes"},               // https://docs.github.com/en/repositories/managing-your-repositorys-settings-and-features/customizing-your-repository/about-code-owners
	{at: "/.github/CODEOWNERS", why: "it decides who has to review changes"},       // as above
}
