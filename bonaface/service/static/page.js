// The page: one section at a time, three tasks.

import { Refused, ask, formOf, useKey } from "/web/service.js";
import { Slot, element, percent } from "/web/slot.js";
import { scale } from "/web/scale.js";

const byId = (id) => document.getElementById(id);
const SECTIONS = ["compare", "enrol", "search"];
let model = null;
let patience = 60; // times that the histogram is asked for
let slots = {};
let ready = () => {}; // enables the buttons that have all they need
const busy = new Set(); // buttons whose action runs
const turns = new Map(); // of each place for an answer, how often what it is about has changed

function showSection() {
  const wanted = SECTIONS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "compare";
  for (const name of SECTIONS) byId(name).hidden = name !== wanted;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${wanted}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (wanted === "enrol") listPeople(true);
}

async function learnModel() {
  try {
    model = await ask("/v1/model");
    const judges = model.judges_authenticity ? "judges whether photos are genuine" : "does not judge whether photos are genuine";
    byId("about").textContent = `Model ${model.name}, which ${judges}. Of pairs of two people one in ${Math.round(1 / model.fmr).toLocaleString("en")} passes the threshold.`;
    if (!model.histogram && patience-- > 0) setTimeout(learnModel, 5000);
  } catch (error) {
    byId("about").textContent = error.message;
  }
}

// What is shown at a place is about photos that were changed, and so is an answer that is on its way.
function outdate(place) {
  turns.set(place, (turns.get(place) ?? 0) + 1);
  place.replaceChildren();
}

function refusal(error) {
  const said = element("div", { className: "warn" }, element("p", { textContent: error.message }));
  if (error.photos.length) said.append(element("ul", {}, ...error.photos.map(({ photo, reason }) => element("li", { textContent: `${photo}: ${reason}` }))));
  return said;
}

// One action at a time of a button, its error in words where the answer would be.
async function attempt(button, place, act) {
  busy.add(button);
  button.disabled = true;
  const turn = turns.get(place);
  place.replaceChildren(element("p", { className: "soft", textContent: "Working." }));
  try {
    const answer = await act();
    if (turns.get(place) === turn) place.replaceChildren(...answer);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (turns.get(place) === turn) place.replaceChildren(refusal(error));
  } finally {
    busy.delete(button);
    button.disabled = false;
    ready();
  }
}

// Actions that change the gallery may run at once: what one says stays beside what the others do, until one begins when none runs.
let changing = 0;
async function change(button, act) {
  const said = byId("enrolled"), place = element("div");
  if (!changing) said.replaceChildren();
  said.append(place);
  changing += 1;
  await attempt(button, place, act).finally(() => { changing -= 1; });
}

async function compare() {
  const [first, second] = [slots.first.file, slots.second.file];
  const seen = await ask("/v1/verify", { method: "POST", form: formOf({ first, second }) });
  await Promise.all([slots.first.tell(seen.first, first), slots.second.tell(seen.second, second)]);
  return [verdict(seen)];
}

function verdict(seen) {
  const card = element("div", { className: "verdict" });
  card.dataset.decision = seen.decision;
  card.append(element("p", { className: "decision", textContent: seen.decision[0].toUpperCase() + seen.decision.slice(1) }));
  card.append(element("p", { textContent: seen.reason }));
  if (seen.similarity === null) return card;
  const what = model?.judges_authenticity === false ? "One person, by the faces alone," : "Two genuine photos of one person";
  const odds = `${what} with a probability of ${percent(seen.probability)}, where that is as likely beforehand as not.`;
  card.append(element("p", { textContent: odds }), scale(seen.similarity, seen.threshold, model?.histogram));
  const rate = `From the threshold on it is said to be the same person; ${percent(seen.fmr)} of the pairs of two people reach it.`;
  card.append(element("p", { className: "soft", textContent: rate }));
  if (model?.histogram) {
    const keys = [["same", "one person, genuine"], ["others", "two people, or a deepfake"]];
    card.append(element("ul", { className: "legend" }, ...keys.map(([kind, text]) => element("li", {}, element("span", { className: `key ${kind}` }), text))));
    card.append(element("p", { className: "soft", textContent: `Behind the scale: ${model.histogram.pairs}, each kind in its own height.` }));
  }
  return card;
}

let chosen = []; // photos to enrol, dropped or chosen
let refused = []; // those of them that were refused when they were sent
function choose(files) {
  chosen = [...chosen, ...[...files].filter((file) => !chosen.some((each) => ["name", "size", "lastModified"].every((key) => each[key] === file[key])))];
  byId("chosen").replaceChildren(...chosen.map((file) => {
    const image = element("img", { alt: file.name, title: file.name, src: URL.createObjectURL(file) });
    image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
    const mark = refused.includes(file) ? [element("span", { textContent: "refused" })] : [];
    const away = element("button", { type: "button", textContent: "Remove" });
    away.setAttribute("aria-label", `Remove ${file.name}`);
    const item = element("li", {}, ...mark, image, away);
    away.addEventListener("click", () => {
      (item.nextSibling?.querySelector("button") ?? byId("photos")).focus();
      chosen = chosen.filter((each) => each !== file);
      item.remove();
    });
    return item;
  }));
}

// The service counts photos; whoever chose them knows them by their files.
function nameFiles(error, sent) {
  const file = (number) => sent[number - 1].name;
  error.message = error.message.replace(/^photo (\d+)(?=: )/, (_, number) => file(number));
  error.photos = error.photos.map(({ photo, reason }) => ({ photo: file(photo), reason: reason.replace(/^photo \d+: /, "") }));
}

async function enrol() {
  const person = byId("person").value;
  if (!chosen.length) throw new Refused({ detail: "Choose one or more photos of the person first." }, 0);
  const sent = chosen;
  chosen = refused = []; // what is chosen meanwhile is not sent
  choose([]);
  let done;
  try {
    done = await ask(`/v1/people/${encodeURIComponent(person)}/photos`, { method: "POST", form: formOf({ photos: sent }) });
  } catch (error) {
    if (error instanceof Refused) {
      refused = error.photos.map(({ photo }) => sent[photo - 1]);
      nameFiles(error, sent);
    }
    choose([...sent, ...chosen.splice(0)]); // they may be sent again, without those that were refused
    throw error;
  }
  byId("enrol-form").reset();
  await listPeople(true);
  return [element("p", { className: "verdict", textContent: `${done.person} is enrolled with ${done.total} photo${done.total === 1 ? "" : "s"}.` })];
}

let next = "";
async function listPeople(anew) {
  const list = byId("people"), turn = (turns.get(list) ?? 0) + 1;
  turns.set(list, turn);
  if (anew) {
    next = "";
    list.replaceChildren();
  }
  try {
    const page = await ask(`/v1/people?limit=50&after=${encodeURIComponent(next)}`);
    if (turns.get(list) !== turn) return; // it was asked again meanwhile
    list.append(...page.people.map(personLine));
    next = page.next ?? "";
    byId("more").hidden = !page.next;
    if (!list.children.length) list.append(element("tr", {}, element("td", { colSpan: 4, textContent: "Nobody yet." })));
  } catch (error) {
    if (turns.get(list) === turn) list.replaceChildren(element("tr", {}, element("td", { colSpan: 4, textContent: error.message })));
  }
}

function personLine({ person, photos, enrolled }) {
  const save = element("button", { type: "button", textContent: "Export" }), away = element("button", { type: "button", textContent: "Delete" });
  save.setAttribute("aria-label", `Export ${person}`);
  away.setAttribute("aria-label", `Delete ${person}`);
  save.addEventListener("click", async () => {
    try {
      const blob = await ask(`/v1/people/${encodeURIComponent(person)}/export`, { raw: true });
      const link = element("a", { href: URL.createObjectURL(blob), download: `${person}.zip` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      byId("enrolled").append(refusal(error)); // beside what another action says there
    }
  });
  away.addEventListener("click", () => {
    if (!window.confirm(`Delete ${person} and all that is stored about them?`)) return;
    change(away, async () => {
      const done = await ask(`/v1/people/${encodeURIComponent(person)}`, { method: "DELETE" });
      await listPeople(true);
      const disk = done.erased ? "nothing is left of them in the database or on the disk" : "what is left of them on the disk is not removed yet";
      return [element("p", { className: "verdict", textContent: `${person} is deleted: ${disk}.` })];
    });
  });
  const when = new Date(1000 * enrolled).toLocaleString();
  return element("tr", {}, element("td", { textContent: person }), element("td", { textContent: photos }), element("td", { textContent: when }), element("td", {}, save, " ", away));
}

async function search() {
  const { file } = slots.query;
  const found = await ask("/v1/search", { method: "POST", form: formOf({ image: file, k: "5" }) });
  await slots.query.tell(found.image, file);
  if (!found.candidates.length) return [element("p", { className: "verdict", textContent: "Nobody is enrolled." })];
  const rows = found.candidates.map((each) => element("tr", {},
    element("td", { textContent: each.person }), element("td", { textContent: each.decision === "cannot tell" ? `${each.decision}: ${each.reason}` : each.decision }),
    element("td", { textContent: percent(each.probability) }), element("td", { textContent: each.similarity.toFixed(2) })));
  const head = element("tr", {}, ...["person", "verdict", "probability", "similarity"].map((text) => element("th", { textContent: text })));
  const many = `Similarity of the photo that is most alike; the threshold is ${found.threshold.toFixed(2)}. A stranger is expected to match ${found.false_matches.toPrecision(2)} of the enrolled photos.`;
  return [element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)), element("p", { className: "soft", textContent: many })];
}

function start() {
  ready = () => {
    byId("compare-run").disabled = busy.has(byId("compare-run")) || !(slots.first?.file && slots.second?.file);
    byId("search-run").disabled = busy.has(byId("search-run")) || !slots.query?.file;
  };
  for (const root of document.querySelectorAll(".slot")) {
    const place = byId(root.dataset.slot === "query" ? "found" : "verdict");
    slots[root.dataset.slot] = new Slot(root, () => { outdate(place); ready(); });
  }
  const press = (button, place, act) => byId(button).addEventListener("click", () => attempt(byId(button), byId(place), act));
  press("compare-run", "verdict", compare);
  press("search-run", "found", search);
  byId("enrol-form").addEventListener("submit", (event) => {
    event.preventDefault();
    change(event.submitter, enrol);
  });
  byId("photos").addEventListener("change", () => { choose(byId("photos").files); byId("photos").value = ""; });
  const drop = byId("drop");
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    choose(event.dataTransfer.files);
  });
  byId("more").addEventListener("click", () => listPeople(false));
  byId("key").addEventListener("submit", (event) => {
    event.preventDefault();
    useKey(byId("key-text").value);
    byId("key").hidden = true;
    learnModel();
    showSection();
  });
  // A pasted photo goes to the place that has the focus, or to the first that is empty.
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
    const open = Object.values(slots).filter((slot) => slot.root.offsetParent);
    const target = open.find((slot) => slot.root.contains(document.activeElement)) ?? open.find((slot) => !slot.file) ?? open.at(-1);
    if (file) target?.take(file);
  });
  window.addEventListener("hashchange", showSection);
  showSection();
  learnModel();
}

start();
