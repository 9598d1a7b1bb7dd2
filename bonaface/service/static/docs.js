// The API's description, from /openapi.json, without a line from elsewhere.

import { element } from "/web/slot.js";

let schemas = {};

const resolved = (schema) => (schema?.$ref ? schemas[schema.$ref.split("/").pop()] : schema);

function typeOf(schema) {
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.type === "array") return `${typeOf(schema.items ?? {})}, several`;
  if (schema.contentMediaType || schema.format === "binary") return "file";
  if (schema.enum) return schema.enum.join(", ");
  return schema.type ?? "anything";
}

function fieldsOf(operation) {
  const form = resolved(Object.values(operation.requestBody?.content ?? {})[0]?.schema);
  const inBody = Object.entries(form?.properties ?? {}).map(([name, schema]) => ({ name, schema, required: form.required?.includes(name), place: "form" }));
  const others = (operation.parameters ?? []).map((each) => ({ ...each, place: each.in }));
  return [...others, ...inBody];
}

function tableOf(fields) {
  const head = element("tr", {}, ...["field", "in", "type", ""].map((textContent) => element("th", { textContent })));
  const rows = fields.map(({ name, place, schema, required, description }) => element("tr", {},
    element("td", {}, element("code", { textContent: name })), element("td", { textContent: place }),
    element("td", { textContent: typeOf(schema) }),
    element("td", { textContent: [required ? "required" : "", description ?? schema.description ?? ""].filter(Boolean).join("; ") })));
  return element("table", { className: "people" }, element("thead", {}, head), element("tbody", {}, ...rows));
}

function operationOf(path, method, operation) {
  const card = element("details", { className: "card" });
  card.append(element("summary", {}, element("code", { textContent: `${method.toUpperCase()} ${path}` }), ` ${operation.summary ?? ""}`));
  card.append(element("p", { textContent: operation.description ?? "" }));
  const fields = fieldsOf(operation);
  if (fields.length) card.append(tableOf(fields));
  for (const [status, answer] of Object.entries(operation.responses)) {
    const schema = answer.content?.["application/json"]?.schema;
    const example = resolved(schema)?.example;
    card.append(element("p", { textContent: `${status}: ${answer.description}${schema?.$ref ? ` (${typeOf(schema)})` : ""}` }));
    if (example) card.append(element("pre", {}, element("code", { textContent: JSON.stringify(example, null, 1) })));
  }
  return card;
}

const api = await (await fetch("/openapi.json")).json();
schemas = api.components.schemas;
document.getElementById("about").textContent = api.info.description;
const operations = Object.entries(api.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => operationOf(path, method, operation)));
document.getElementById("operations").replaceChildren(...operations);
