// A form made from the module's JSON Schema beside the message; a change of either changes the other.
"use strict";
(async () => {
  const box = document.getElementById("schema-form"), text = document.getElementById("text");
  if (!box || !box.dataset.schema) return;
  const answer = await fetch(box.dataset.schema);
  if (!answer.ok) return;
  const schema = await answer.json();
  const fields = document.createElement("div");
  fields.className = "fields";
  box.append(fields);
  const note = document.createElement("p");
  note.className = "quiet"; note.setAttribute("role", "status");
  box.append(note);
  box.hidden = false;

  const resolve = (one) => one && one.$ref ? schema.$defs[one.$ref.split("/").pop()] : one;
  const kindsOf = (one) => (one.anyOf || one.oneOf || [one]).map(resolve).filter((each) => each && each.type !== "null");

  function read() {
    try { return JSON.parse(text.value); } catch { return null; }
  }
  function dataOf(message) {
    if (!message || typeof message !== "object") return null;
    if (!Array.isArray(message.tasks) || !message.tasks[0]) return null;
    message.tasks[0].data ??= {};
    return message.tasks[0].data;
  }
  function write(name, value) {
    const message = read(), data = dataOf(message);
    if (!data) { note.textContent = "The message is no JSON with a task: mend it there first."; return; }
    if (value === undefined) delete data[name]; else data[name] = value;
    text.value = JSON.stringify(message, null, 2);
    note.textContent = "";
  }

  const inputs = new Map();
  const required = new Set(schema.required || []);
  const names = Object.keys(schema.properties || {}).sort((a, b) => required.has(b) - required.has(a));
  for (const name of names) {
    const about = schema.properties[name], kinds = kindsOf(about), kind = kinds[0] || {};
    const field = document.createElement("div"), label = document.createElement("label");
    field.className = "field";
    const id = "field-" + name;
    label.htmlFor = id;
    label.textContent = name + (required.has(name) ? " (needed)" : "");
    const choices = kind.enum || (kind.const !== undefined && kinds.map((one) => one.const));
    let input, get, put;
    if (kind.type === "boolean") {
      input = document.createElement("input"); input.type = "checkbox";
      get = () => input.checked === Boolean(about.default) ? undefined : input.checked;
      put = (value) => { input.checked = value === undefined ? Boolean(about.default) : Boolean(value); };
    } else if (choices && choices.every((one) => one !== undefined)) {
      input = document.createElement("select");
      for (const one of ["", ...choices]) { const option = document.createElement("option"); option.value = one; option.textContent = one === "" ? "by default" : one; input.append(option); }
      get = () => input.value || undefined;
      put = (value) => { input.value = value ?? ""; };
    } else {
      const types = new Set(kinds.map((one) => one.type)), plain = types.has("string") && types.size === 1;
      const numeric = [...types].every((one) => one === "integer" || one === "number");
      input = document.createElement("input");
      input.type = numeric ? "number" : "text";
      if (numeric) input.step = types.has("number") ? "any" : 1;
      if (about.default !== undefined && about.default !== null) input.placeholder = typeof about.default === "string" ? about.default : JSON.stringify(about.default);
      get = () => {
        if (input.value === "") return undefined;
        if (plain) return input.value;
        try { return JSON.parse(input.value); } catch { return input.value; }
      };
      put = (value) => { input.value = value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value); };
    }
    input.id = id;
    const description = about.description || kind.description;
    field.append(label, input);
    if (description) {
      const hint = document.createElement("div");
      hint.className = "quiet"; hint.id = id + "-about";
      // Docs write names between backticks.
      description.split("`").forEach((words, index) => {
        if (index % 2 === 0) { hint.append(words); return; }
        const name = document.createElement("code");
        name.textContent = words;
        hint.append(name);
      });
      input.setAttribute("aria-describedby", hint.id);
      field.append(hint);
    }
    input.addEventListener("input", () => write(name, get()));
    inputs.set(name, put);
    fields.append(field);
  }

  function show() {
    const message = read(), data = dataOf(message);
    note.textContent = message === null ? "The message is no JSON yet." : "";
    if (!data) return;
    for (const [name, put] of inputs) if (document.activeElement?.id !== "field-" + name) put(data[name]);
  }
  text.addEventListener("input", show);
  show();
  const source = new URLSearchParams(location.search).get("source");
  if (source && inputs.has("source")) { inputs.get("source")(source); }
})();
