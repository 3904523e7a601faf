-- The Grafana dashboard and the Prometheus rules use metrics that the portal has, with labels that these have.

local cjson = require "cjson.safe"
local example_world = require "support.example_world"
local files = require "support.files"
local nginx_world = require "support.nginx_world"
local prometheus_text = require "support.prometheus_text"

local has_yaml, yaml = pcall(require, "lyaml")

local obstacle = nginx_world.obstacle()

--- The labels of each metric, of a portal that has met what it counts.
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
  return labels
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

  local labels

  setup(function()
    labels = read_metrics()
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
end)
