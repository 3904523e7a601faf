-- The examples for schedulers, build servers and containers: they can be parsed, the command accepts their options,
-- and the files that they name exist. The portal has its own specs in spec/openresty.

local command_process = require "support.command_process"
local emulated_service = require "support.emulated_service"
local files = require "support.files"
local lfs = require "lfs"
local overlay = require "support.overlay"
local shell = require "autopilot.cli.emulate.shell"
local source_tree = require "support.source_tree"
local version = require "autopilot.version"

local has_yaml, yaml = pcall(require, "lyaml")

local here = shell.read "pwd":match "[^\n]+"

--- Whether the command accepts these words: with `--help` behind them it does nothing else.
local function is_accepted(words)
  local pipe = command_process.start(
    ('%s%s --help 2>&1; echo "exit $?"'):format(command_process.program, words),
    {}
  )
  local output = pipe:read "*a"
  pipe:close()
  return output:match "exit 0\n$" ~= nil, output
end

--- The calls of the command in a text, without the program's name.
local function calls_in(text)
  local calls = {}
  for call in (text:gsub("\\\n%s*", " ") .. "\n"):gmatch "autopilot%-sync( %l[^\n]*)\n" do
    calls[#calls + 1] =
      call:gsub("%${{.-}}", "WORD"):gsub('"%$%(date %+%%s%)"', "1790000000"):gsub('"%$%a+"', "WORD")
  end
  return calls
end

--- The documents of a YAML file.
local function read_yaml(name)
  return yaml.load(files.read("examples/" .. name), { all = true })
end

describe("the examples", function()
  for name, count in pairs {
    ["import-then-ensure.sh"] = 1,
    ["crontab"] = 1,
    ["systemd/autopilot-sync.service"] = 1,
    ["github-actions.yaml"] = 1,
    ["azure-pipelines.yaml"] = 1,
  } do
    it("use options that the command has: " .. name, function()
      local text = files.read("examples/" .. name):gsub("\n#[^\n]*", "\n")
      local calls = calls_in(text)
      assert.equal(count, #calls)
      for _, call in ipairs(calls) do
        assert.is_true(is_accepted(call))
      end
    end)
  end

  it("are checked by a spec that finds wrong options", function()
    assert.is_false((is_accepted " ensure --sinse -1h"))
  end)

  it("are all named in the README or the documentation", function()
    local text = files.read "README.md"
      .. files.read "doc/openresty.md"
      .. files.read "doc/command.md"
    for name in lfs.dir "examples" do
      if name:sub(1, 1) ~= "." then
        assert.is_truthy(text:find("examples/" .. name, 1, true), name)
      end
    end
  end)

  it("have the version of this tree", function()
    for _, path in ipairs(source_tree.files("examples", "yaml")) do
      for named in files.read(path):gmatch "autopilot%-sync:(%S+)" do
        assert.equal(version, named)
      end
    end
  end)

  describe("in YAML", function()
    if not has_yaml then
      return pending "the examples in YAML are read with lyaml (Debian: lua-yaml)"
    end

    it("let a GitHub workflow sign in without a secret", function()
      local workflow = read_yaml("github-actions.yaml")[1]
      assert.equal("write", workflow.permissions["id-token"])
      assert.equal("read", workflow.permissions.contents)
      assert.is_true(#workflow.jobs.import.steps > 2)
      assert.is_nil(files.read("examples/github-actions.yaml"):find "secrets%.")
    end)

    it("contain an Azure pipeline", function()
      local job = read_yaml("azure-pipelines.yaml")[1].jobs[1]
      assert.is_string(job.container)
      assert.equal("AzureCLI@2", job.steps[1].task)
    end)

    it(
      "are a job of Kubernetes that runs alone, without root, as the command understands",
      function()
        local by_kind = {}
        for _, document in ipairs(read_yaml "kubernetes-cronjob.yaml") do
          by_kind[document.kind] = document
        end
        local job = by_kind.CronJob.spec
        assert.equal("Forbid", job.concurrencyPolicy)
        local pod = job.jobTemplate.spec.template.spec
        assert.equal(by_kind.ServiceAccount.metadata.name, pod.serviceAccountName)
        assert.equal(by_kind.ConfigMap.metadata.name, pod.volumes[1].configMap.name)
        assert.is_true(pod.securityContext.runAsNonRoot)
        local container = pod.containers[1]
        assert.is_true(container.securityContext.readOnlyRootFilesystem)
        assert.equal(pod.volumes[1].name, container.volumeMounts[1].name)
        local list = container.args[2]
        assert.equal(
          list,
          container.volumeMounts[1].mountPath .. "/" .. next(by_kind.ConfigMap.data)
        )
        assert.is_true(is_accepted(" " .. table.concat(container.args, " ")))
        assert.is_true(container.args[1] == "fleet" and pod.terminationGracePeriodSeconds > 10)
      end
    )
  end)

  it("contain a crontab", function()
    local entries = 0
    for line in files.read("examples/crontab"):gmatch "[^\n]+" do
      if line:find "^[%d*]" then
        entries = entries + 1
        assert.matches("^[%d*,/-]+ [%d*,/-]+ [%d*,/-]+ [%d*,/-]+ [%d*,/-]+ %l+ flock %-n ", line)
        assert.is_nil(line:find("%", 1, true)) -- which is a new line for cron
      else
        assert.is_truthy(line:find "^#" or line:find "^%u[%u_]+=%S")
      end
    end
    assert.equal(1, entries)
  end)

  it("contain units of systemd", function()
    if shell.read "command -v systemd-analyze" == "" then
      return pending "the units are verified with systemd-analyze"
    end
    local folder, remove = files.folder()
    for name in lfs.dir "examples/systemd" do
      if name:sub(1, 1) ~= "." then
        -- What they start is not installed here.
        local text = files.read("examples/systemd/" .. name)
        files.write(folder .. "/" .. name, (text:gsub("(Exec%a+=)/%S+", "%1/bin/true")))
      end
    end
    local verified =
      shell.read('cd "$1" && systemd-analyze verify --man=no ./*.* 2>&1; echo $?', folder)
    local each = 'for unit in ./*.service; do systemd-analyze security --offline=true "$unit"; done'
    local exposure = shell.read('cd "$1" && ' .. each, folder)
    remove()
    assert.equal("0\n", verified)
    local count = 0
    for level in exposure:gmatch "Overall exposure level for [^:]+: ([%d.]+)" do
      assert.is_true(tonumber(level) < 2, level)
      count = count + 1
    end
    assert.equal(2, count)
  end)

  it("build images from existing files", function()
    for name in lfs.dir "examples/docker" do
      if name:find "Dockerfile$" then
        local text = files.read("examples/docker/" .. name):gsub("\\\n", " ")
        local stages, copied = {}, {}
        for line in text:gmatch "[^\n]+" do
          local instruction, rest = line:match "^(%u+) (.+)$"
          assert.is_truthy(instruction or line:find "^#", line)
          if instruction == "FROM" then
            stages[#stages + 1] = rest
          elseif instruction == "COPY" and not rest:find "^%-%-from=build" then
            for path in rest:gmatch "(%S+) " do
              copied[path] = lfs.attributes(path, "mode")
              assert.is_string(copied[path], path)
            end
          end
        end
        assert.equal(2, #stages)
        assert.matches(" AS build$", stages[1])
        for _, path in ipairs { "Makefile", "src", "lua", "bin", "doc", "examples" } do
          assert.is_string(copied[path], path)
        end
      end
    end
  end)

  describe("after an import", function()
    local service, folder, remove, environment

    setup(function()
      service = emulated_service.start { duration = 0 }
      folder, remove = files.folder()
      local program = folder .. "/autopilot-sync"
      files.write(
        program,
        ('#!/bin/sh\nexec %s %s/bin/autopilot-sync "$@"\n'):format(
          command_process.interpreter,
          here
        )
      )
      shell.read('chmod 700 "$1"', program)
      environment = service:environment {
        AZURE_TENANT_ID = service.tenant,
        AZURE_CLIENT_ID = service.client_id,
        AZURE_CLIENT_SECRET = service.client_secret,
        PATH = folder .. ":" .. os.getenv "PATH",
      }
    end)

    teardown(function()
      service.stop()
      remove()
    end)

    local function import(command)
      local script = ('examples/import-then-ensure.sh %s 2>&1; echo "exit $?"'):format(command)
      local pipe = command_process.start(script, overlay({}, environment))
      local output, code = pipe:read("*a"):match "^(.*)exit (%d+)\n$"
      pipe:close()
      return tonumber(code), output
    end

    local function syncs()
      return service:control("GET", "state").requests.sync
    end

    it("start no sync if it failed", function()
      local before = syncs()
      assert.equal(23, (import "sh -c 'exit 23'"))
      assert.equal(before, syncs())
    end)

    it("start a sync that completes", function()
      local code, output = import "echo imported"
      assert.equal(0, code)
      assert.matches("^imported\n", output)
      assert.matches("ensure [^\n]*: completed", output)
    end)
  end)
end)
