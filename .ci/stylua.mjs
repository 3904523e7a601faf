// Formats Lua files in place as stylua.toml says; with --check it only names those it would change.
import { createRequire } from "module";
import { readFileSync, writeFileSync } from "fs";
const stylua = createRequire(`${process.cwd()}/build/tools/`)("@johnnymorganz/stylua");

const enums = { indent_type: "IndentType", quote_style: "QuoteStyle", call_parentheses: "CallParenType" };
const settings = [...readFileSync("stylua.toml", "utf8").matchAll(/^(\w+) *= *"?(\w+)"?/gm)];

function format(text) {
  const config = stylua.Config.new(); // formatCode takes it away
  for (const [, key, value] of settings) {
    config[key] = enums[key] ? stylua[enums[key]][value] : Number(value);
  }
  return stylua.formatCode(text, config, undefined, stylua.OutputVerification.None);
}

const onlyCheck = process.argv[2] === "--check";
for (const name of process.argv.slice(onlyCheck ? 3 : 2)) {
  const text = readFileSync(name, "utf8");
  const formatted = format(text);
  if (text === formatted) continue;
  console.log(name);
  if (onlyCheck) process.exitCode = 1;
  else writeFileSync(name, formatted);
}
