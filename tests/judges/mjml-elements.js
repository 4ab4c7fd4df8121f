// What npm's mjml says of its elements: attributes with their kinds, which elements may stand within, and whether HTML does.

const core = require("mjml-core");
require("mjml");
const preset = require("mjml-preset-core");
const { dependencies } = preset.default || preset;

const elements = {};
for (const [name, component] of Object.entries(core.components)) {
  elements[name] = {
    attributes: component.allowedAttributes || {},
    passes: Boolean(component.endingTag),
    children: (dependencies[name] || []).filter((child) => typeof child === "string"),
  };
}
process.stdout.write(JSON.stringify(elements));
