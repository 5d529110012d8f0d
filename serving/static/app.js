// The page: calls the API of the same server and shows the responses. Text is set as text, never
// as HTML, so a title can have any characters.
"use strict";

const PAGE_SIZE = 12;
const MOST = 100;
const TYPING_MS = 150;
const FOUND = 8;

const state = {
  liked: new Map(), // movie_id -> display title, and the time if marked as liked in a list
  hidden: new Set(),
  shown: PAGE_SIZE,
  facts: null, // what the API says about the model
  requests: 0, // the number of the latest request: responses to older ones are dropped
};

const byId = (id) => document.getElementById(id);

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// -- calls of the API -------------------------------------------------------------------------

class ServerError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// Paths are relative to the page's: behind a proxy it may have a path prefix.
async function call(path, body) {
  const headers = {};
  const token = sessionStorage.getItem("token");
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
  } catch {
    throw new ServerError(0, "The server does not respond. Is it still running?");
  }
  const document = await response.json().catch(() => ({}));
  if (response.status === 401) showTokenDialog();
  if (!response.ok) throw new ServerError(response.status, document.error || `The server's status is ${response.status}.`);
  return document;
}

function showTokenDialog() {
  const dialog = byId("token-dialog");
  if (!dialog.open) dialog.showModal();
}

function afterPause(action) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, TYPING_MS);
  };
}

// -- recommendations --------------------------------------------------------------------------

function isKnown() {
  return document.querySelector("input[name=kind]:checked").value === "known";
}

function recommendRequest() {
  const request = {
    k: state.shown,
    reasons: 2,
    include_seen: !byId("hide-seen").checked,
    exclude: [...state.hidden],
    ...events(),
    ...(given("context") && { context: given("context") }),
  };
  if (isKnown()) return { ...request, user_id: byId("user").value.trim() };
  const values = {
    age: Number(byId("age").value) || 0,
    gender: byId("gender").value,
    occupation: byId("occupation").value,
    zip_code: byId("zip").value.trim(),
  };
  const fields = new Set(state.facts?.user_features.map((feature) => feature.field));
  for (const field of Object.keys(values)) if (!fields.has(field)) delete values[field];
  return { ...request, ...values, ...(given("others") && { features: given("others") }) };
}

// Films from the search were liked at any time. Those marked in a list were liked now: with their
// times they are the current session. Times are of this computer's clock, so the request has a
// time of the same clock.
function events() {
  const films = [...state.liked].map(([movie_id, { timestamp }]) => ({ movie_id, timestamp }));
  const timed = films.some((film) => film.timestamp);
  return { liked: films, ...(timed && { timestamp: unixSeconds() }) };
}

function unixSeconds() {
  return Math.floor(Date.now() / 1000);
}

async function recommend() {
  const number = ++state.requests;
  byId("recommendations").classList.add("waiting");
  try {
    const response = await call("api/recommendations", recommendRequest());
    if (number === state.requests) show(response);
  } catch (error) {
    if (number === state.requests) showError(error);
  } finally {
    if (number === state.requests) byId("recommendations").classList.remove("waiting");
  }
}

function show(response) {
  const films = response.recommendations;
  byId("error").hidden = true;
  byId("recommendations").replaceChildren(...films.map(card));
  byId("more").hidden = films.length < state.shown || state.shown >= MOST;
  const whom = isKnown() && response.user_id ? `user ${response.user_id}` : "you";
  byId("status").textContent = films.length
    ? `${counted(films.length)} for ${whom}.`
    : `There is nothing left to recommend to ${whom}.`;
}

function showError(error) {
  byId("error").textContent = error.message;
  byId("error").hidden = false;
  byId("status").textContent = "";
  byId("recommendations").replaceChildren();
  byId("more").hidden = true;
}

// The title as people write it, of a movie or of a reason.
function titleOf(film) {
  return film.display_title ?? film.title;
}

function card(film) {
  const label = titleOf(film);
  const parts = [element("h3", { textContent: label })];
  if (film.stars !== undefined) parts.push(starsOf(film.stars));
  if (film.genres.length) parts.push(element("p", { className: "genres", textContent: film.genres.join(", ") }));
  if (film.reasons.length) parts.push(element("p", { className: "why", textContent: why(film.reasons) }));
  parts.push(element("div", { className: "actions" },
    button("Liked it", `I liked ${label}`, () => {
      like(film);
      byId("films").focus();
    }),
    button("Not this", `Do not recommend ${label}`, () => hide(film)),
    button("Similar", `Show ${plural(noun())} similar to ${label}`, () => showSimilar(film))));
  const item = element("li", { className: "film" }, ...parts);
  item.dataset.id = film.movie_id;
  return item;
}

function starsOf(stars) {
  // Five stars need no word.
  const high = state.facts?.rating_scale?.high ?? 5;
  const most = high === 5 ? "" : ` of ${high}`;
  return element("p", { className: "stars" },
    element("span", { textContent: `★ ${stars.toFixed(1)}${most}`, ariaHidden: "true" }),
    element("span", { className: "visually-hidden", textContent: `Predicted: ${stars.toFixed(1)}${most || " stars"}` }));
}

function why(reasons) {
  return `Because you liked ${reasons.map(titleOf).join(" and ")}`;
}

function button(text, label, action) {
  const made = element("button", { type: "button", textContent: text, onclick: action });
  made.setAttribute("aria-label", label);
  return made;
}

function hide(film) {
  state.hidden.add(film.movie_id);
  byId("films").focus();
  recommend();
}

async function showSimilar(film) {
  byId("similar-title").textContent = `Similar to ${titleOf(film)}`;
  byId("similar-films").replaceChildren();
  byId("similar-error").hidden = true;
  byId("similar").showModal();
  try {
    const response = await call(`api/movies/${encodeURIComponent(film.movie_id)}/similar?k=10`);
    byId("similar-films").replaceChildren(...response.movies.map(similarFilm));
  } catch (error) {
    byId("similar-error").textContent = error.message;
    byId("similar-error").hidden = false;
  }
}

function similarFilm(film) {
  const label = titleOf(film);
  const liked = button("Liked it", `I liked ${label}`, () => {
    like(film);
    markLiked(liked);
  });
  if (state.liked.has(film.movie_id)) markLiked(liked);
  const text = element("div", {}, element("span", { textContent: label }),
    element("span", { className: "genres", textContent: film.genres.join(", ") }));
  return element("li", {}, text, liked);
}

// The button stays in place, so that the keyboard's focus stays with it.
function markLiked(liked) {
  liked.textContent = "Liked ✓";
  liked.setAttribute("aria-pressed", "true");
}

// -- liked films ------------------------------------------------------------------------------

function like(film) {
  const now = state.facts?.abilities.times && { timestamp: unixSeconds() };
  state.liked.set(film.movie_id, { title: titleOf(film), ...now });
  showLiked();
  recommend();
}

function showLiked() {
  byId("liked-title").hidden = state.liked.size === 0;
  byId("liked").replaceChildren(...[...state.liked].map(([id, { title }]) => {
    const remove = button(`${title} ✕`, `Remove ${title} from the ${plural(noun())} you liked`, () => {
      state.liked.delete(id);
      showLiked();
      byId("search").focus();
      recommend();
    });
    return element("li", {}, remove);
  }));
}

// -- search -----------------------------------------------------------------------------------

async function search() {
  const query = byId("search").value.trim();
  if (!query) return clearFound();
  try {
    const response = await call(`api/movies?limit=${FOUND}&query=${encodeURIComponent(query)}`);
    if (query === byId("search").value.trim()) showFound(response);
  } catch (error) {
    byId("found-count").textContent = error.message;
  }
}

function showFound(response) {
  byId("found-count").textContent = `${counted(response.total)} found`;
  byId("found").hidden = false;
  byId("found").replaceChildren(...response.movies.map((film) =>
    element("li", {}, element("button", { type: "button", textContent: titleOf(film), onclick: () => pick(film) }))));
  if (!response.movies.length) byId("found").append(element("li", { className: "help", textContent: `No ${noun()} has these words in its title.` }));
}

function clearFound() {
  byId("found").hidden = true;
  byId("found").replaceChildren();
  byId("found-count").textContent = "";
}

function pick(film) {
  state.liked.set(film.movie_id, { title: titleOf(film) });
  byId("search").value = "";
  clearFound();
  showLiked();
  byId("search").focus();
  recommend();
}

function moveThroughFound(event) {
  const buttons = [...byId("found").querySelectorAll("button")];
  if (event.key === "Escape") {
    byId("search").value = "";
    clearFound();
    byId("search").focus();
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const step = event.key === "ArrowDown" ? 1 : -1;
    const next = buttons.indexOf(document.activeElement) + step;
    (buttons[next] || byId("search")).focus();
    event.preventDefault();
  } else if (event.key === "Enter" && event.target === byId("search")) {
    buttons[0]?.click();
    event.preventDefault();
  }
}

// -- users and the model ------------------------------------------------------------------------

async function suggestUsers() {
  const prefix = encodeURIComponent(byId("user").value.trim());
  const response = await call(`api/users?prefix=${prefix}&limit=20`).catch(() => ({ user_ids: [] }));
  byId("users").replaceChildren(...response.user_ids.map((value) => element("option", { value })));
  return response.user_ids;
}

async function showModel() {
  try {
    const facts = await call("api/model");
    state.facts = facts;
    nameItems();
    for (const place of document.querySelectorAll("[data-needs]")) {
      place.hidden = !facts.abilities[place.dataset.needs];
    }
    byId("model").textContent = describe(facts);
    const metrics = facts.scenarios.map(describeScenario).filter(Boolean);
    byId("metrics").replaceChildren(byId("metrics").querySelector("summary"),
      ...metrics.map((textContent) => element("p", { textContent })));
    byId("metrics").hidden = !metrics.length;
    showForm(facts.user_features, facts.context_features ?? []);
  } catch (error) {
    byId("model").textContent = error.message;
  }
}

// The form has the user features of the model, those with a field of their own and others by name,
// and its context features.
function showForm(features, context) {
  const fields = new Set(features.map((feature) => feature.field));
  for (const place of document.querySelectorAll("[data-field]")) {
    place.hidden = !fields.has(place.dataset.field);
  }
  const occupation = features.find((feature) => feature.field === "occupation");
  byId("occupation").append(...(occupation?.choices ?? []).map(option));
  byId("others").replaceChildren(...features.filter((feature) => !feature.field).map(otherField));
  byId("context").replaceChildren(...context.map(otherField));
  byId("now").hidden = !context.length;
}

function option(name) {
  return element("option", { textContent: name });
}

function otherField({ name, label, type, choices }) {
  const id = `feature-${name}`;
  const input = choices.length
    ? element("select", { id }, element("option", { value: "", textContent: "not given" }), ...choices.map(option))
    : element("input", { id, type: type === "number" ? "number" : "text", step: "any", maxLength: 200, autocomplete: "off" });
  input.dataset.feature = name;
  input.addEventListener(choices.length ? "change" : "input", choices.length ? changed : changedWhileTyping);
  return element("div", {}, element("label", { htmlFor: id, textContent: label }), input);
}

// Returns the values of features that are given in a part of the form; undefined where none is.
function given(part) {
  const inputs = [...byId(part).querySelectorAll("[data-feature]")].filter((input) => input.value.trim());
  return inputs.length ? Object.fromEntries(inputs.map((input) =>
    [input.dataset.feature, input.type === "number" ? Number(input.value) : input.value.trim()])) : undefined;
}

function describe(facts) {
  const parts = [`Model version ${facts.model_version}${pushedOn(facts.model_version)}`];
  if (facts.dataset) parts.push(`trained on ${facts.dataset}`);
  parts.push(counted(facts.movies));
  return `${parts.join(" · ")}.`;
}

const SCENARIOS = {
  next_visit: "For a user's next visit",
  in_session: "During a visit, right after other choices",
};

function describeScenario({ scenario, recall_at_10: hit, rating_rmse: rmse }) {
  const parts = [];
  if (hit !== null) {
    parts.push(`the ${noun()} that the user chose was among 10 recommendations in ${Math.round(hit * 100)} % of cases`);
  }
  if (typeof rmse === "number") parts.push(`predicted stars were off by ${rmse.toFixed(2)} (RMSE)`);
  return parts.length ? `${SCENARIOS[scenario] ?? scenario}, ${parts.join(", and ")}.` : "";
}

function pushedOn(version) {
  const date = new Date(Number(version) * 1000);
  const year = date.getUTCFullYear();
  return year > 2000 && year < 2200 ? ` of ${date.toISOString().slice(0, 10)}` : "";
}

// -- words ----------------------------------------------------------------------------------------

// What an item of the data is called. The page as it is written says "movie".
function noun() {
  return state.facts?.item_noun ?? "movie";
}

function plural(word) {
  if (/[^aeiou]y$/i.test(word)) return `${word.slice(0, -1)}ies`;
  return word + (/(s|x|z|sh|[^o]ch|ooch)$/i.test(word) ? "es" : "s");
}

function counted(number) {
  return `${number.toLocaleString("en")} ${number === 1 ? noun() : plural(noun())}`;
}

// Replaces the word in the page as it is written, before it shows anything of the catalogue.
function nameItems() {
  if (document.body.dataset.noun || noun() === "movie") return;
  document.body.dataset.noun = noun();
  const named = (text) => text.replace(/\bmovie(s?)\b/gi, (found, many) => {
    const word = many ? plural(noun()) : noun();
    return found[0] === "M" ? word[0].toUpperCase() + word.slice(1) : word;
  });
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) texts.currentNode.data = named(texts.currentNode.data);
  for (const place of document.querySelectorAll("[aria-label]")) {
    place.setAttribute("aria-label", named(place.getAttribute("aria-label")));
  }
  document.title = named(document.title);
}

// -- start --------------------------------------------------------------------------------------

// On a phone the form is folded, so that the recommendations come first.
function foldOnPhones(narrow) {
  byId("settings").open = !narrow.matches;
}

function changed() {
  state.shown = PAGE_SIZE;
  state.hidden.clear();
  byId("known").hidden = !isKnown();
  byId("new").hidden = isKnown();
  recommend();
}

async function start() {
  await showModel();
  const [first] = await suggestUsers();
  if (first && !byId("user").value) byId("user").value = first;
  recommend();
}

const phone = matchMedia("(max-width: 48rem)");
foldOnPhones(phone);
phone.addEventListener("change", foldOnPhones);
const changedWhileTyping = afterPause(changed);
for (const id of ["user", "age", "zip"]) byId(id).addEventListener("input", changedWhileTyping);
byId("user").addEventListener("input", afterPause(suggestUsers));
for (const id of ["gender", "occupation"]) byId(id).addEventListener("change", changed);
for (const radio of document.querySelectorAll("input[name=kind]")) radio.addEventListener("change", changed);
byId("hide-seen").addEventListener("change", recommend);
byId("search").addEventListener("input", afterPause(search));
byId("search").addEventListener("keydown", moveThroughFound);
byId("found").addEventListener("keydown", moveThroughFound);
byId("who").addEventListener("submit", (event) => event.preventDefault());
byId("more").addEventListener("click", () => {
  state.shown = Math.min(state.shown * 2, MOST);
  recommend();
});
byId("token-dialog").addEventListener("close", () => {
  sessionStorage.setItem("token", byId("token").value);
  byId("token").value = "";
  start();
});
start();
