-- The meaning of a service error: a missing permission, and which, or a missing licence.

local error_bodies = require "support.error_bodies"
local graph_error = require "autopilot.graph.error"

local graph = error_bodies.graph

describe("autopilot.graph.error.is_forbidden", function()
  it("accepts the codes and sentences for a missing permission", function()
    local codes = { "Forbidden", "forbidden", "accessDenied", "Authorization_RequestDenied" }
    for _, code in ipairs(codes) do
      assert.is_true(graph_error.is_forbidden { code = code })
    end
    for _, message in ipairs {
      "Application is not authorized to perform this operation.",
      "User is not authorized to perform this operation",
      "Application must have one of the following scopes: A.B",
      "called in app only context but does not have application permissions configured.",
    } do
      assert.is_true(graph_error.is_forbidden { code = "UnknownError", message = message })
      assert.is_true(graph_error.is_forbidden { code = "Unauthorized", message = message })
      assert.is_true(graph_error.is_forbidden { message = message:upper() })
    end
  end)

  it("accepts the word Forbidden alone only if no code contradicts it", function()
    assert.is_true(graph_error.is_forbidden { message = "(403) Forbidden." })
    assert.is_true(graph_error.is_forbidden { code = "UnknownError", message = "forbidden" })
    local expired = { code = "InvalidAuthenticationToken", message = "Old ones are forbidden." }
    assert.is_false(graph_error.is_forbidden(expired))
    assert.is_false(graph_error.is_forbidden { message = "unforbidden or forbiddenly" })
  end)

  it("is false for anything else, and for no error", function()
    local expired = { code = "InvalidAuthenticationToken", message = "Expired." }
    assert.is_false(graph_error.is_forbidden(expired))
    local vague = { code = "UnknownError", message = "An error has occurred" }
    assert.is_false(graph_error.is_forbidden(vague))
    assert.is_false(graph_error.is_forbidden {})
    assert.is_false(graph_error.is_forbidden(nil))
  end)
end)

describe("autopilot.graph.error.says", function()
  it("finds the sentence in any wrapping", function()
    local sentence = "Request not applicable to target tenant."
    for _, body in ipairs {
      graph("BadRequest", sentence),
      graph("BadRequest", error_bodies.intune_object(error_bodies.words(sentence))),
      sentence:upper(),
    } do
      assert.is_true(graph_error.says(graph_error.parse(body), "not_licensed"))
    end
    assert.is_false(graph_error.says({ code = "BadRequest", message = "No" }, "not_licensed"))
    assert.is_false(graph_error.says({}, "not_licensed"))
    assert.is_false(graph_error.says(nil, "not_licensed"))
  end)
end)

describe("autopilot.graph.error.missing_permissions", function()
  it("lists the names in the service's order", function()
    local intunes = "must have one of the following scopes: "
    local graphs = "Missing scope permissions on the request. API requires one of "
    local messages = {
      [graphs .. "'User.Read.All, A.B'. Scopes on the request 'C.D'"] = { "User.Read.All", "A.B" },
      [intunes .. "A.Read.All, or B.Read.All."] = {
        "A.Read.All",
        "B.Read.All",
      },
      [intunes .. "A.Read.All - Url: https://x.y.z"] = { "A.Read.All" },
      [intunes .. "A.B and then C.D"] = { "A.B" },
      [intunes .. "A.Read.All. Ask.your admin"] = { "A.Read.All" },
      [intunes] = {},
      ["A.Read.All is a nice scope"] = {},
    }
    for message, names in pairs(messages) do
      assert.same(names, graph_error.missing_permissions { message = message })
    end
    local many = "one of the following scopes: " .. ("A.B, "):rep(1000)
    assert.equal(20, #graph_error.missing_permissions { message = many })
    assert.same({}, graph_error.missing_permissions {})
    assert.same({}, graph_error.missing_permissions(nil))
  end)
end)
