// A conversation: kept here, posted whole each time, answered as a stream.

import { element, markdown } from "./markdown.js";
import { dollars, nanos } from "./money.js";
import { events } from "./sse.js";

const page = Object.fromEntries(
  [...document.querySelectorAll("[id]")].map((found) => [found.id, found]),
);
const NEAR_PIXELS = 120;

let history = [];
let spent = { answers: 0, nanos: 0n, unknown: 0 };
let running = null;

/** What the server refused, in its own words. */
class Problem extends Error {
  constructor({ title, detail, retry_after: wait }) {
    super(title);
    this.detail = [detail, wait && `Try again in ${duration(wait)}.`]
      .filter(Boolean)
      .join(" ");
  }
}

/** An answer on the page, while it comes and when it is there. */
class Answer {
  text = "";
  reasoning = "";

  constructor(label) {
    this.thought = element("div");
    this.body = element("div", [], { className: "text" });
    this.node = turn(`answer ${label.toLowerCase()} waiting`, label, this.body);
  }

  take({ text = "", reasoning = "" }) {
    this.text += text;
    this.reasoning += reasoning;
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = null;
    if (this.reasoning && !this.thought.isConnected) {
      const summary = element("summary", "Reasoning");
      this.body.before(element("details", [summary, this.thought]));
    }
    follow(() => {
      this.thought.replaceChildren(...markdown(this.reasoning));
      this.body.replaceChildren(...markdown(this.text));
    });
  }

  finish(completion) {
    this.text = completion.content || completion.refusal || this.text;
    this.draw();
    count(completion.cost_usd);
    follow(() => this.node.append(figures(completion)));
    if (completion.finish_reason === "length") {
      this.note("Cut off", "The answer reached the limit of tokens.");
    }
  }

  note(title, detail = "", kind = "note") {
    const words = [element("strong", `${title}.`), ` ${detail}`];
    follow(() => this.node.append(element("p", words, { className: kind })));
  }

  end() {
    this.draw();
    this.node.classList.remove("waiting");
  }
}

/** Run one exchange; `talk` gets the answer's place and the signal that stops it. */
async function exchange(label, talk) {
  running = new AbortController();
  const answer = new Answer(label);
  busy(true);
  try {
    await talk(answer, running.signal);
    page.status.textContent = `${label} complete.`;
  } catch (error) {
    explain(answer, error);
  } finally {
    answer.end();
    running = null;
    busy(false);
  }
  return answer;
}

async function ask(text) {
  const user = { role: "user", content: text };
  turn("user", "You", element("div", text, { className: "text" }));
  const answer = await exchange("Answer", async (place, signal) => {
    const body = { model: page.model.value, messages: [...history, user] };
    const response = await post(page.composer.dataset.chat, body, signal);
    await read(response, place);
  });
  if (answer.text) {
    history.push(user, { role: "assistant", content: answer.text });
  } else {
    page.prompt.value ||= text;
  }
  busy(false);
}

async function read(response, place) {
  for await (const { name, data } of events(response.body)) {
    if (name === "delta") place.take(data);
    else if (name === "done") return place.finish(data);
    else throw new Problem(data);
  }
  throw new Problem({ title: "The connection broke off" });
}

async function summarise() {
  await exchange("Summary", async (place, signal) => {
    const body = { model: page.model.value, messages: history };
    const response = await post(page.composer.dataset.summarise, body, signal);
    place.finish(await response.json());
  });
}

async function post(url, body, signal) {
  const headers = { "Content-Type": "application/json" };
  const options = { method: "POST", headers, body: JSON.stringify(body), signal };
  const response = await fetch(url, options);
  if (response.ok) return response;
  const type = response.headers.get("Content-Type") ?? "";
  const fields = type.includes("json") ? await response.json() : {};
  throw new Problem({
    title: `${response.status} ${response.statusText}`,
    ...fields,
    retry_after: response.headers.get("Retry-After"),
  });
}

function explain(answer, error) {
  const partial = Boolean(answer.text || answer.reasoning);
  if (partial) count(null);
  if (error.name === "AbortError") {
    answer.note("Stopped", "The report has what it cost.");
  } else if (error instanceof Problem) {
    answer.note(error.message, error.detail, "failure");
  } else {
    const title = partial ? "The connection broke off" : "The server does not answer";
    answer.note(title, "", "failure");
  }
  page.status.textContent = answer.node.lastElementChild.textContent;
}

function turn(kind, label, ...content) {
  const node = element("article", [element("h2", label), ...content]);
  node.className = kind;
  page.welcome.hidden = true;
  page.log.append(node);
  document.documentElement.scrollTop = document.documentElement.scrollHeight;
  return node;
}

/** Change the page, and stay at its end if that is where the reader is. */
function follow(change) {
  const root = document.documentElement;
  const below = root.scrollHeight - root.scrollTop - root.clientHeight;
  change();
  if (below < NEAR_PIXELS) root.scrollTop = root.scrollHeight;
}

function count(usd) {
  spent.answers += 1;
  if (usd === null) spent.unknown += 1;
  else spent.nanos += nanos(usd);
  showTotal();
}

function showTotal() {
  const unknown = spent.unknown ? ` + ${spent.unknown} unknown` : "";
  const plural = spent.answers === 1 ? "answer" : "answers";
  const number = spent.answers ? element("span", ` · ${spent.answers} ${plural}`) : "";
  page.total.replaceChildren(dollars(spent.nanos) + unknown, number);
}

function figures({ usage, cost_usd: cost, latency_ms: ms, model, cached }) {
  const entries = {
    Cost: cost === null ? "unknown" : dollars(nanos(cost)),
    Input: usage.input_tokens,
    Cached: usage.cache_read_tokens,
    Output: usage.output_tokens,
    Reasoning: usage.reasoning_tokens,
    Latency: `${(ms / 1000).toFixed(2)} s`,
    Model: cached ? `${model}, from our cache` : model,
  };
  const groups = Object.entries(entries).map(([name, value]) =>
    element("div", [element("dt", name), element("dd", value.toLocaleString("en"))]),
  );
  return element("dl", groups);
}

function duration(seconds) {
  if (seconds < 120) return `${Math.ceil(seconds)} seconds`;
  return `${Math.ceil(seconds / 60)} minutes`;
}

function busy(now) {
  page.log.ariaBusy = String(now);
  page.send.hidden = now;
  page.stop.hidden = !now;
  follow(() => {
    page.actions.hidden = now || !page.log.childElementCount;
  });
  page.summarise.disabled = !history.length;
  if (now) page.status.textContent = "Answering.";
  if (document.activeElement === document.body) page.prompt.focus();
}

function clear() {
  history = [];
  spent = { answers: 0, nanos: 0n, unknown: 0 };
  page.log.replaceChildren();
  page.welcome.hidden = false;
  showTotal();
  busy(false);
  page.status.textContent = "New conversation.";
  page.prompt.focus();
}

page.composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = page.prompt.value.trim();
  if (!text || running) return;
  page.prompt.value = "";
  ask(text);
});

page.prompt.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  page.composer.requestSubmit();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
});

page.welcome.addEventListener("click", (event) => {
  if (event.target.localName === "button" && !running) ask(event.target.textContent);
});

page.stop.addEventListener("click", () => running?.abort());
page.summarise.addEventListener("click", summarise);
page.clear.addEventListener("click", clear);
