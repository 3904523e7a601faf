-- The Grafana dashboard and the Prometheus rules use metrics that the portal has, with labels that these have.

local cjson = require "cjson.safe"
local example_world = require "support.example_world"
local files = require "support.files"
local nginx_world = require "support.nginx_world"
local overlay = require "support.overlay"
local prometheus_text = require "support.prometheus_text"
local shell = require "autopilot.cli.emulate.shell"

local has_yaml, yaml = pcall(require, "lyaml")

local obstacle = nginx_world.obstacle()

--- The labels of each metric, and the metrics, of a portal that has met what it counts.
local function read_metrics()
  local world = example_world.start {
    tenants = { "one.example", 'refused"example' },
    service = { duration = 0 },
  }
  world:sync "one.example"
  world:ready "one.example"
  world:sync 'refused"example'
  local families = prometheus_text.read(world.server:get("/metrics").body)
  world:stop()
  local labels = {}
  for name, family in pairs(families) do
    labels[name] = { le = family.type == "histogram" or nil }
    for _, sample in ipairs(family.samples) do
      for label in pairs(sample.labels) do
        labels[name][label] = true
      end
    end
    for _, ending in ipairs { "_bucket", "_sum", "_count" } do
      labels[name .. ending] = family.type == "histogram" and labels[name] or nil
    end
  end
  return labels, families
end

-- Prometheus adds these itself.
local of_every_metric = { job = true, instance = true }

--- What is wrong with an expression; nil: it asks for metrics that exist, and for no label that none of them has.
local function mistake_in(expression, labels)
  local all, count = {}, 0
  for name in expression:gmatch "autopilot_[%w_]+" do
    if not labels[name] then
      return "there is no metric " .. name
    end
    count = count + 1
    for label in pairs(labels[name]) do
      all[label] = true
    end
  end
  if count == 0 then
    return "it asks for no metric of the portal"
  end
  local function check(list)
    for label in list:gmatch "[%a_][%w_]*" do
      if not all[label] and not of_every_metric[label] then
        return "no metric in it has the label " .. label
      end
    end
  end
  for list in expression:gmatch "by (%b())" do
    local mistake = check(list)
    if mistake then
      return mistake
    end
  end
  for list in expression:gmatch "{(.-)}" do
    local mistake = check((list:gsub('"[^"]*"', "")))
    if mistake then
      return mistake
    end
  end
end

describe("the monitoring of the portal", function()
  if obstacle then
    return pending(obstacle)
  end

  local labels, families

  setup(function()
    labels, families = read_metrics()
  end)

  it("is checked by a spec that finds mistakes", function()
    assert.is_nil(mistake_in('sum by (state) (autopilot_tenants{state="fresh"})', labels))
    assert.matches("no metric autopilot_tenant$", mistake_in("autopilot_tenant", labels))
    assert.matches("label stage", mistake_in("sum by (stage) (autopilot_tenants)", labels))
    assert.matches("label stage", mistake_in('autopilot_tenants{stage="fresh"}', labels))
  end)

  it("uses, on its dashboard, metrics that exist", function()
    local board = assert(cjson.decode(files.read "examples/openresty/grafana.json"))
    local ids = {}
    assert.is_true(#board.panels > 5)
    for _, panel in ipairs(board.panels) do
      assert.is_nil(ids[panel.id])
      ids[panel.id] = true
      assert.is_true(panel.gridPos.x + panel.gridPos.w <= 24)
      for _, target in ipairs(panel.targets) do
        assert.is_nil(mistake_in(target.expr, labels))
      end
    end
  end)

  it("uses, in its alert rules, metrics that exist", function()
    if not has_yaml then
      return pending "the alert rules are checked with lyaml (Debian: lua-yaml)"
    end
    local names = {}
    for _, group in ipairs(yaml.load(files.read "examples/openresty/alerts.yaml").groups) do
      for _, rule in ipairs(group.rules) do
        assert.is_nil(names[rule.alert])
        names[rule.alert] = true
        assert.is_nil(mistake_in(rule.expr, labels))
        assert.is_string(rule.annotations.summary)
        assert.is_string(rule.annotations.description)
        assert.matches("^%l+$", rule.labels.severity)
        local labels_of_text = rule.annotations.summary:gsub(
          "{{ %$labels%.(%w+) }}",
          function(label)
            assert.is_nil(mistake_in(("sum by (%s) (%s)"):format(label, rule.expr), labels))
            return ""
          end
        )
        assert.is_nil(labels_of_text:find("$labels", 1, true))
      end
    end
    assert.is_true(names.AutopilotTenantNeedsAttention)
  end)

  it("counts from 0 what an alert may have to notice at once", function()
    assert.equal(0, families.autopilot_sunset_announcements_total.samples[1].value)
  end)
end)

describe("the monitoring of the portal, for promtool,", function()
  if shell.read "command -v promtool" == "" then
    return pending "promtool is not installed (Debian: prometheus)"
  end

  local folder, remove

  before_each(function()
    folder, remove = files.folder()
  end)

  after_each(function()
    remove()
  end)

  --- What promtool says of a file, which is written in JSON: that is YAML, too, but for the escaped slashes.
  local function promtool(words, content)
    local text = cjson.encode(content):gsub("\\/", "/")
    files.write(folder .. "/file.yaml", text)
    return shell.read(("promtool %s '%s/file.yaml' 2>&1; echo exit $?"):format(words, folder))
  end

  it("has expressions on its dashboard that can be evaluated", function()
    local rules = {}
    for _, panel in ipairs(cjson.decode(files.read "examples/openresty/grafana.json").panels) do
      for _, target in ipairs(panel.targets) do
        local expression = target.expr:gsub("%$__rate_interval", "5m")
        rules[#rules + 1] = { record = "panel:" .. #rules, expr = expression }
      end
    end
    local verdict = promtool("check rules", { groups = { { name = "board", rules = rules } } })
    assert.matches("exit 0\n$", verdict)
  end)

  --- The alerts that fire after two hours in which the portal has metrics as given: their values minute by minute.
  local function assert_firing(expected, metrics)
    local series, samples = {}, {}
    for name, values in pairs(metrics) do
      series[#series + 1] = { series = name, values = values }
    end
    for index, name in ipairs(expected) do
      samples[index] = { labels = ('{alertname="%s"}'):format(name), value = 1 }
    end
    local question = {
      expr = 'count by (alertname) (ALERTS{alertstate="firing"})',
      eval_time = "2h",
      exp_samples = samples[1] and samples,
    }
    local verdict = promtool("test rules", {
      rule_files = { shell.read("pwd"):match "[^\n]+" .. "/examples/openresty/alerts.yaml" },
      tests = {
        { interval = "1m", input_series = series[1] and series, promql_expr_test = { question } },
      },
    })
    assert.matches("exit 0\n$", verdict)
  end

  local healthy = {
    ['autopilot_last_sync_age_seconds{tenant="a"}'] = "1000x150",
    ['autopilot_tenants{state="fresh"}'] = "9x150",
    ['autopilot_tenants{state="stale"}'] = "1x150",
    ["autopilot_keep_fresh_timestamp_seconds"] = "0+60x150",
    ['autopilot_responses_total{status="200"}'] = "0+9x150",
    ['autopilot_responses_total{status="503"}'] = "0+1x150",
    ['autopilot_tokens_total{result="ok"}'] = "0+9x150",
    ['autopilot_dictionary_capacity_bytes{dictionary="x"}'] = "100x150",
    ['autopilot_dictionary_free_bytes{dictionary="x"}'] = "50x150",
    ["autopilot_sunset_announcements_total"] = "0x150",
  }

  it("has no alert that fires for a portal that is well", function()
    assert_firing({}, healthy)
  end)

  it("has an alert that fires where there is no portal", function()
    assert_firing({ "AutopilotPortalMissing" }, {})
  end)

  for alert, metrics in pairs {
    TenantNeedsAttention = {
      ['autopilot_tenant_needs_attention{tenant="a",outcome="forbidden"}'] = "1x150",
    },
    TenantNotSynced = { ['autopilot_last_sync_age_seconds{tenant="a"}'] = "15000x150" },
    ManyTenantsStale = { ['autopilot_tenants{state="stale"}'] = "5x150" },
    LooksStopped = { ["autopilot_keep_fresh_timestamp_seconds"] = "0x150" },
    ServiceFailing = { ['autopilot_responses_total{status="503"}'] = "0+10x150" },
    SignInFailing = { ['autopilot_tokens_total{result="failed"}'] = "0x50 1+1x99" },
    DictionaryFull = { ['autopilot_dictionary_free_bytes{dictionary="x"}'] = "9x150" },
    ApiSunset = { ["autopilot_sunset_announcements_total"] = "0x50 1x99" },
  } do
    it("has an alert that fires alone: " .. alert, function()
      assert_firing({ "Autopilot" .. alert }, overlay(overlay({}, healthy), metrics))
    end)
  end
end)
