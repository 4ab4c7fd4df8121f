// npm's mjml: reads a JSON list of MJML documents, and answers a list of what it makes of them. MJML_PARTS is the folder of what they
// include, if they include anything.

const mjml = require("mjml");
const render = mjml.default || mjml;

let text = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (part) => (text += part));
process.stdin.on("end", async () => {
  const pages = [];
  for (const source of JSON.parse(text)) {
    try {
      const folder = process.env.MJML_PARTS;
      const options = folder ? { filePath: folder, ignoreIncludes: false } : {};
      pages.push({ html: (await render(source, options)).html });
    } catch (error) {
      pages.push({ error: String(error.message) });
    }
  }
  process.stdout.write(JSON.stringify(pages));
});
