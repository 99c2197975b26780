"use strict";

// The page at /wall: shows what the samples are (sources.js) and what they prove (verdict.js), and has the controls.

const DRAW_INTERVAL = 250;  // ms; a picture for each sample would cost the browser much more
const DENSE_DRAW_INTERVAL = 500;
const STREAM_LENGTH = 100;  // samples that the stream shows
const RATE_WINDOW = 5000;  // ms over which the present rate is measured
const DENSE_ABOVE = 40;  // tiles, which are then small, and without lanes
const TILE_SHAPE = 1.7;  // width by height
const DENSE_TILE_SHAPE = .9;
const DENSE_TILE_WIDTH = 60;  // px, at least
const TILE_WIDTH = 190;
const NEW_FOR = 60_000;  // ms after its start in which a replica is new
const FILLING = 1000;  // flex-grow factors whose sum is below 1 leave a box partly empty
const BAR_MAX = 60;  // sources that the bar shows by themselves

const elements = Object.fromEntries([...document.querySelectorAll("[id]")].map(element => [element.id, element]));
const templates = elements.templates.content;  // of a tile and of a lane

let state;  // see newState
let log = [];  // records, to save
let startedAt;  // when samples began to be counted
let announced;  // words that a screen reader has been told, without their figures
let lanesDrawnAt = 0;  // a second
let streamed = [];  // samples that the stream does not show yet: of each, its source and whether it failed
let replay = null;  // records of a file that was opened, instead of those that come

const setText = (element, text) => {
  if (element.textContent != text) element.textContent = text;
};

const percent = part => Math.round(100 * part) + " %";


// Tiles, lanes and stream

const elementsOf = source => {
  if (!source.tile) {
    [source.tile, source.lane] = templates.cloneNode(true).children;
    setText(source.tile.querySelector(".name"), source.name);
    setText(source.lane.querySelector(".name"), source.name);
    paint(source.tile, source);
    paint(source.lane, source);
    elements.tiles.append(source.tile);
    elements.lanes.append(source.lane);
    source.tile.source = source;
  }
  return source;
};

// Gives an element the colours of a source
const paint = (element, { colours: [circle, path], isFailure }, hasFailed = isFailure) => {
  element.style.setProperty("--circle", circle ?? "#0000");
  element.style.setProperty("--path", path ?? "#0000");
  element.classList.toggle("failure", hasFailed);
};

// The stream is a fixed number of ticks, of which the oldest become the newest
const drawStream = () => {
  const { stream } = elements;
  const latest = streamed.slice(-STREAM_LENGTH);
  const ticks = [...stream.children].slice(0, latest.length);
  ticks.forEach((tick, index) => paint(tick, ...latest[index]));
  stream.append(...ticks);
  streamed = [];
};

const isGone = source => !source.isFailure && !state.evidence.sources[source.number]?.isActive;

const descriptionOf = ({ isFailure, description, record }) => {
  if (isFailure) return description;
  if (state.by != "replica") return "";
  return [record.version, record.zone, record.host != (record.short || record.host) && record.host].filter(Boolean).join(" · ");
};

const stateOf = (source, figures, at) => {
  const silent = formatSeconds(at - source.last);
  if (source.isFailure) return `last ${silent} ago`;
  if (isGone(source)) return `gone, ${silent}`;
  if (figures.failed) return `${figures.failed} of ${figures.count} failed`;
  if (mayBeGone(state.evidence, source.number)) return `silent for ${silent}`;
  if (source.record.draining === true) return "draining";
  const { uptime, start_ms: start } = source.record;
  if (state.by != "replica" || !(uptime >= 0)) return "";
  const up = uptime + at - source.last;
  return `up ${formatSeconds(up)}` + (up < NEW_FOR && Number.isInteger(start) && start >= 0 ? `, started in ${formatMs(start)}` : "");
};

const formatMs = ms => ms < 1000 ? `${ms} ms` : `${formatTenths(ms / 1000)} s`;

const isTarget = ({ isFailure, record }) => {
  const target = elements.target.value;
  return sampler.fault && !isFailure && (!target || [record.version, record.short, record.zone].includes(target));
};

const drawTile = (source, figures, at) => {
  const { tile } = elementsOf(source);
  const { share } = figures;
  const gone = isGone(source);
  const times = figures.times.sort((a, b) => a - b);
  const part = name => tile.querySelector(name);
  tile.classList.toggle("gone", gone);
  tile.classList.toggle("silent", !source.isFailure && mayBeGone(state.evidence, source.number));
  tile.classList.toggle("failing", figures.failed > 0 && !gone);
  tile.style.setProperty("--share", gone ? "0%" : (100 * share).toFixed(1) + "%");
  tile.style.setProperty("--turn", 20 * source.turns + "deg");
  tile.style.order = source.lane.style.order = gone ? 2 : figures.failed ? 0 : 1;
  setText(part(".share"), gone ? "–" : percent(share));
  setText(part(".description"), descriptionOf(source));
  setText(part(".state"), stateOf(source, figures, at) + (isTarget(source) ? ` · you cause: ${faultWords()}` : ""));
  setText(part(".latency"), times.length && !gone
    ? `p50 ${quantile(times, .5).toFixed(0)} ms, p99 ${quantile(times, .99).toFixed(0)} ms` : "");
};

// In each whole second, as high as its share
const drawLane = (source, at) => {
  const end = Math.floor(at / 1000);
  const start = end - LANE_SECONDS;
  const bars = [...source.seconds].filter(([second]) => second >= start && second < end).map(([second, count]) =>
    `M${second - start},1V${(1 - count / state.secondTotals.get(second)).toFixed(2)}h1V1`);
  source.lane.querySelector("path").setAttribute("d", bars.join(""));
};

const NO_FIGURES = { count: 0, share: 0, failed: 0, times: [] };

const draw = () => {
  const at = replay ? replay.at : now();
  const { clientWidth: width, clientHeight: height } = document.documentElement;  // before anything is changed
  removeOldSources(state, at);
  const figures = recentFigures(state, at);
  const shown = [...state.sources.filter(Boolean), ...state.failures.values()];
  const isShown = new Set(shown);
  for (const { source } of [...elements.tiles.children]) {
    if (isShown.has(source)) continue;
    source.tile.remove();
    source.lane.remove();
  }
  const second = Math.floor(at / 1000);
  const isDense = shown.length > DENSE_ABOVE;
  for (const source of shown) {
    drawTile(source, figures.get(source.number ?? source.name) ?? { ...NO_FIGURES, times: [] }, at);
    if (second != lanesDrawnAt && !isDense) drawLane(source, at);
  }
  lanesDrawnAt = second;
  arrangeTiles(shown.length, isDense, width, height);
  drawStream();
  drawBar(shown, figures);
  drawVerdict(at);
  drawFacts(at);
  offerTargets(shown);
};

const drawAgain = () => {
  setTimeout(drawAgain, document.body.classList.contains("dense") ? DENSE_DRAW_INTERVAL : DRAW_INTERVAL);
  draw();
};

// As large as the screen allows
const arrangeTiles = (count, isDense, screenWidth, screenHeight) => {
  const [part, tileShape, tileWidth] = isDense ? [.5, DENSE_TILE_SHAPE, DENSE_TILE_WIDTH] : [.42, TILE_SHAPE, TILE_WIDTH];
  const wished = Math.ceil(Math.sqrt(count * screenWidth / (screenHeight * part) / tileShape));
  const possible = Math.max(1, Math.min(count, wished, Math.floor(screenWidth / tileWidth)));
  const rows = Math.ceil(count / possible);
  elements.tiles.style.setProperty("--columns", Math.ceil(count / rows) || 1);
  elements.tiles.style.setProperty("--rows", rows);
  document.body.classList.toggle("dense", isDense);
};

// The shares of the last seconds side by side; replicas of a version stand together
const drawBar = (shown, figures) => {
  const groups = new Map();
  for (const source of shown) {
    const figure = figures.get(source.number ?? source.name);
    if (!figure?.share) continue;
    const name = source.isFailure ? source.name : state.by == "replica" ? source.record.version ?? "" : source.name;
    if (!groups.has(name)) groups.set(name, { share: 0, members: [] });
    groups.get(name).share += figure.share;
    groups.get(name).members.push([source, figure.share]);
  }
  const words = [...groups].map(([name, { share }]) => `${name} ${percent(share)}`.trim());
  elements.groups.setAttribute("aria-label", words.join(", ") || "no answer yet");
  elements.groups.replaceChildren(...[...groups.values()].map(({ share, members }, index) => {
    const group = document.createElement("div");
    const label = document.createElement("span");
    group.style.flexGrow = FILLING * share;
    label.textContent = words[index];
    const bars = document.createElement("div");
    bars.append(...members.slice(0, BAR_MAX).map(([source, part]) => {
      const bar = document.createElement("i");
      bar.style.flexGrow = FILLING * part;
      paint(bar, source);
      return bar;
    }));
    group.append(bars, label);
    return group;
  }));
};

const drawVerdict = at => {
  const naming = {
    names: state.sources.map(source => source?.name ?? "?"),
    one: state.by,
    several: state.by + "s",
  };
  const starts = [...sampler.starts].map(start => start.at);
  const verdict = replay || sampler.paused
    ? findVerdict(state.evidence, at)
    : findVerdict(state.evidence, at, starts.length, starts.length ? Math.min(...starts) : 0);
  const words = sampler.needsLogin && !state.records ? "needs a login" : headline(verdict, naming);
  setText(elements.verdict, words);
  setText(elements.detail, detail(verdict, naming) || (state.records ? " " : emptyWords()));
  elements.banner.className = ["down", "failing"].includes(verdict.state) ? "failing" : verdict.state;
  elements.banner.style.setProperty("--length", Math.max(words.length, 12));
  const withoutFigures = words.replace(/[\d.:%]+/g, "");
  if (withoutFigures == announced) return;  // not each new figure is news to a listener
  announced = withoutFigures;
  setText(elements.announcement, words);
  document.title = words;
};

const emptyWords = () => sampler.paused
  ? "Sampling is paused: press p to go on"
  : `Asking ${BASE.host}${BASE.pathname}whoami`;

const drawFacts = at => {
  const { evidence, records, failed, longestGap } = state;
  let answered = 0;
  let ended = 0;
  for (let back = 1; back <= evidence.recent.length; back++) {
    const one = evidence.recent.at(-back);
    if (at - one.at > RATE_WINDOW) break;
    ended++;
    answered += one.failure === null;
  }
  const seconds = Math.min(RATE_WINDOW, Math.max(at - startedAt, 1)) / 1000;
  const facts = [`${(ended / seconds).toFixed(1)} requests/s`];
  if (answered < ended) facts[0] += `, ${(answered / seconds).toFixed(1)} of them answered`;
  facts.push(`failed ${failed} of ${records}`);
  if (longestGap) facts.push(`longest gap ${longestGap} ms`);
  if (sampler.starts.size >= inFlightMax() && !sampler.keepsConnection) {
    facts.push(`${sampler.starts.size} requests wait, and the browser allows no more`);
  }
  if (sampler.needsLogin) facts.push("asking with cookies only, as nothing else passes the login");
  if (sampler.isMultiplexed) facts.push("HTTP/2: requests share connections");
  if (sampler.fault) facts.push(`you cause for ${elements.target.value || "everybody"}: ${faultWords()}`);
  if (replay) facts.push(`a recording, at ${new Date(at).toLocaleTimeString()}`);
  setText(elements.facts, facts.join(" · "));
};


// Records

const show = record => {
  const source = addRecord(state, record);
  if (!source.tile) requestAnimationFrame(draw);  // so that it has its words at once
  elementsOf(source);
  streamed.push([source, record.failure !== undefined]);
};

const restart = () => {
  state = newState(elements.by.value);
  startedAt = now();
  elements.tiles.replaceChildren();
  elements.lanes.replaceChildren();
  streamed = [];
  elements.stream.replaceChildren(...Array.from({ length: STREAM_LENGTH }, () => document.createElement("i")));
  lanesDrawnAt = 0;
};

// What was seen so far, counted by something else
const recount = () => {
  restart();
  const records = replay ? replay.records.slice(0, replay.shown) : log;
  for (const record of records) show(record);
  if (records.length) startedAt = records[0].at;
  draw();
};

const reset = () => {
  log = [];
  replay = null;
  resetAt = now();
  elements["position-label"].hidden = true;
  restart();
  draw();
};

let resetAt = 0;

sampler.onRecord = (record, start) => {
  if (replay || start.at < resetAt) return;
  addToLog(log, record);
  show(record);
};


// Faults

const faultWords = () => [
  elements.fail.value > 0 && `${elements.fail.value} % fail`,
  elements.latency.value > 0 && `${elements.latency.value} ms late`,
].filter(Boolean).join(", ");

const applyControls = () => {
  const { rate, connection, fail, latency, target } = elements;
  sampler.rate = Number(rate.value);
  sampler.keepsConnection = connection.value == "same";
  setText(elements["fail-shown"], fail.value + " %");
  setText(elements["latency-shown"], latency.value + " ms");
  sampler.fault = [
    fail.value > 0 && "fail=" + fail.value,
    latency.value > 0 && `latency=${latency.value}ms`,
  ].filter(Boolean).join("&");
  if (sampler.fault && target.value) sampler.fault += "&if=" + encodeURIComponent(target.value);
  history.replaceState(null, "", "#" + new URLSearchParams(
    ["rate", "by", "connection", "fail", "latency", "target"].map(id => [id, elements[id].value])));
};

const readAddress = () => {
  for (const [id, value] of new URLSearchParams(location.hash.slice(1))) {
    if (id == "target" && value) elements.target.append(new Option(value));
    if (["rate", "by", "connection", "fail", "latency", "target"].includes(id)) {
      const before = elements[id].value;
      elements[id].value = value;
      if (!elements[id].value) elements[id].value = before;  // there is no such choice
    }
  }
};

// Versions, zones and replicas that a fault can be for
const offerTargets = shown => {
  const { target } = elements;
  if (document.activeElement == target) return;
  const records = shown.filter(source => !source.isFailure && !isGone(source)).map(source => source.record);
  const names = ["version", "zone", "short"].flatMap(key => [...new Set(records.map(record => record[key]).filter(Boolean))]);
  if (target.value && !names.includes(target.value)) names.push(target.value);
  if (names.join() == [...target.options].slice(1).map(option => option.value).join()) return;
  const chosen = target.value;
  target.replaceChildren(new Option("everybody", ""), ...names.map(name => new Option(name)));
  target.value = chosen;
};


// Controls

const togglePause = () => {
  if (replay && sampler.paused) reset();  // back to what is now
  sampler.paused = !sampler.paused;
  elements.pause.setAttribute("aria-pressed", sampler.paused);
  state.lastAnswer = null;
};

const toggleFull = async () => {
  const isFull = document.body.classList.toggle("full");
  elements.full.setAttribute("aria-pressed", isFull);
  await (isFull ? document.documentElement.requestFullscreen?.() : document.fullscreenElement && document.exitFullscreen());
};

const save = () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([writeLog(replay ? replay.records : log)], { type: "application/jsonl" }));
  link.download = `wall-${new Date().toISOString().replace(/[:.]/g, "-")}.jsonl`;
  link.click();
  URL.revokeObjectURL(link.href);
};

const open = async () => {
  const [file] = elements.open.files;
  if (!file) return;
  const records = readLog(await file.text());
  if (!records.length) {
    setText(elements.said, `${file.name} has no samples: a file is wanted that was saved here, or by watch --jsonl`);
    return;
  }
  if (!sampler.paused) togglePause();
  replay = { records };
  elements["position-label"].hidden = false;
  elements.position.value = 100;
  showPosition();
};

// The recording up to the position of the slider
const showPosition = () => {
  const { records } = replay;
  const [first, last] = [records[0].at, records.at(-1).at];
  replay.at = first + (last - first) * elements.position.value / 100;
  const next = records.findIndex(record => record.at > replay.at);
  replay.shown = next < 0 ? records.length : next;
  recount();
};

const order = async path => setText(elements.said, (await command(path)).trim());

const keys = { f: toggleFull, p: togglePause, r: reset, b: burst };

elements.pause.addEventListener("click", togglePause);
elements.reset.addEventListener("click", reset);
elements.burst.addEventListener("click", burst);
elements.full.addEventListener("click", toggleFull);
elements.save.addEventListener("click", save);
elements.open.addEventListener("change", open);
elements.position.addEventListener("input", showPosition);
elements.unready.addEventListener("click", () => order("readyz/disable"));
elements.ready.addEventListener("click", () => order("readyz/enable"));
elements.by.addEventListener("change", recount);
elements.controls.addEventListener("input", applyControls);
elements.controls.addEventListener("submit", event => event.preventDefault());
document.addEventListener("fullscreenchange", () => {
  if (!document.fullscreenElement && document.body.classList.contains("full")) toggleFull();
});
document.addEventListener("keydown", event => {
  // a list that was reached by the keyboard takes letters itself
  const isTyping = event.ctrlKey || event.metaKey || event.altKey || event.target.matches?.("select:focus-visible");
  if (!isTyping) keys[event.key]?.();
});

window.addEventListener("hashchange", () => {
  readAddress();
  applyControls();
  recount();
});

readAddress();
applyControls();
reset();
watchProtocol();
tick();
drawAgain();
