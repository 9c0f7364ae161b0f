// Bundles the page's program and style into page.html, one file without addresses; `npm install && npm run build`.
import { build } from "esbuild";
import { readFileSync, writeFileSync } from "node:fs";

const result = await build({
  entryPoints: ["src/main.tsx"],
  bundle: true,
  minify: true,
  write: false,
  metafile: true,
  outdir: "out",
  format: "iife",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none", // all licences stand in licenses.txt, which is put into the page
});
const text = (ending) => result.outputFiles.find((file) => file.path.endsWith(ending)).text;
const packages = [...new Set(Object.keys(result.metafile.inputs)
  .map((path) => path.match(/^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//)?.[1]).filter(Boolean))]
  .sort((a, b) => (a.split("node_modules/").pop() < b.split("node_modules/").pop() ? -1 : 1)); // wherever npm put them
const licenses = packages.map((folder) => {
  const about = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  const name = ["LICENSE", "LICENSE.md", "LICENSE.txt"].find((file) => {
    try { readFileSync(`${folder}/${file}`); return true; } catch { return false; }
  });
  const license = name ? readFileSync(`${folder}/${name}`, "utf8").trim() : about.license;
  return `${about.name} ${about.version} (${about.license})\n\n${license}`;
}).join("\n\n---\n\n");
writeFileSync("licenses.txt", `${licenses}\n`);

const put = (page, mark, value) => page.split(mark).join(value);
let page = readFileSync("src/index.html", "utf8");
page = put(page, "/*style*/", text(".css").trim());
page = put(page, "/*licenses*/", licenses.replaceAll("&", "&amp;").replaceAll("<", "&lt;"));
page = put(page, "/*program*/", text(".js").trim().replaceAll("</script", "<\\/script"));
writeFileSync("page.html", page);
