"use strict";

// The page at /wall: it asks for `whoami` again and again, through whatever stands in front of the replicas, and shows
// who answered. A source is whoever a sample came from: a replica of one version, or a kind of failure. verdict.js,
// which is loaded before, says what the samples show.

const SAMPLES_KEPT = 1000;
const SOURCES_KEPT = 200;
const STREAM_LENGTH = 100;  // samples that the stream shows
const LANE_SECONDS = 180;
const RATE_SECONDS = 5;  // over which the present rate is measured
const DRAW_INTERVAL = 250;  // ms, as the next three
const REQUEST_TIMEOUT = 3000;
const OUTAGE_SHOWN_AFTER = 1500;
const ASLEEP_AFTER = 5000;  // without a tick, the page was asleep
const PART_WITHOUT_COOKIES = .2;  // of samples, to tell whether cookies lead to a replica
const GONE_CHANCE = Math.exp(-12);  // below this, silence is no chance
const NO_CONNECTION = "no connection";
const FAILURE_COLOURS = ["#d33", "#0000"];
const UNKNOWN_COLOUR = "#888";
const COLOUR = /^#[\da-f]{6}$/i;
const WHOAMI = location.pathname.endsWith("/") ? "../whoami" : "whoami";  // beside this page

const byId = id => document.getElementById(id);
const heading = byId("verdict");
const announcement = byId("announcement");  // for screen readers
const factsLine = byId("facts");
const stream = byId("stream");
const tiles = byId("tiles");
const lanes = byId("lanes");
const templates = byId("templates").content;  // of a tile and of a lane
const rateChoice = byId("rate");
const maxInFlightChoice = byId("max-in-flight");
const connectionChoice = byId("connection");
const pauseButton = byId("pause");

// State
let samples;  // the latest, in order of their ends
let sources;  // by key, in order of their first samples
let startedAt;  // when samples began to be counted
let answers;  // when the last valid one came (null: nobody knows), and whether requests have failed since
let gaps;  // between valid answers, around failures: how many, and the latest and the longest in ms
let announced;  // words that a screen reader has been told, without their figures
let inFlight = 0;
let paused = false;
let lastTick = 0;

const keepsConnection = () => connectionChoice.value == "same";

const formatDuration = seconds => {
  if (seconds < 120) return Math.round(seconds) + " s";
  if (seconds < 7200) return Math.round(seconds / 60) + " min";
  return Math.round(seconds / 3600) + " h";
};


// Samples

// Asks for whoami once: `whoami` is what was answered as JSON, or else `failure` says why there is none
const ask = async (kept, withCookies) => {
  let failure = NO_CONNECTION;
  try {
    const response = await fetch(kept ? WHOAMI + "?keep=1" : WHOAMI, {
      cache: "no-store",
      credentials: withCookies ? "same-origin" : "omit",
      signal: AbortSignal.timeout(REQUEST_TIMEOUT),
    });
    failure = "HTTP " + response.status;
    const text = await response.text();  // an error's too, so that its connection is free again
    if (response.ok) return { whoami: JSON.parse(text), failure };
  } catch (error) {
    if (error.name == "TimeoutError") failure = "timed out";
  }
  return { whoami: null, failure };
};

const sample = async () => {
  const kept = keepsConnection();
  const withCookies = kept || Math.random() >= PART_WITHOUT_COOKIES;
  const samplesBefore = samples;
  inFlight++;
  const { whoami, failure } = await ask(kept, withCookies);
  inFlight--;
  if (samples != samplesBefore) return;  // they were reset meanwhile

  const now = performance.now();
  const source = typeof whoami?.host == "string" ? replicaSource(whoami, now) : failureSource(failure, now);
  samples.push({ source, at: now, kept, withCookies, requestNumber: whoami?.requests });
  if (samples.length > SAMPLES_KEPT) samples.shift();
  markSeen(source, now);
  addToStream(source);
  if (source.isReplica) noteAnswer(now);
  else answers.failing = true;
};


// Gaps

const noteAnswer = now => {
  if (answers.failing && answers.last !== null) {
    gaps.latest = Math.round(now - answers.last);
    gaps.longest = Math.max(gaps.longest, gaps.latest);
    gaps.count++;
  }
  answers.last = now;
  answers.failing = false;
};

// After a pause nobody knows when answers ended, so that no gap can be told
const forgetLastAnswer = () => {
  answers.last = null;
};


// Sources, each with a tile and a lane

const replicaSource = (whoami, now) => {
  const { host, version } = whoami;
  const source = findOrAddSource(`${host},${version}`, now, {
    isReplica: true,
    name: `${whoami.short || host} ${version || ""}`,
    description: host,
    colours: [0, 1].map(index => COLOUR.exec(whoami.colours?.[index])?.[0] ?? UNKNOWN_COLOUR),
  });
  source.whoami = whoami;
  return source;
};

const failureSource = (failure, now) => findOrAddSource(failure, now, {
  isReplica: false,
  name: failure,
  description: failure == NO_CONNECTION ? "refused, reset, name or CORS" : "no whoami",
  colours: FAILURE_COLOURS,
});

const findOrAddSource = (key, now, given) => {
  if (!sources.has(key)) sources.set(key, addSource(given, now));
  return sources.get(key);
};

const addSource = ({ isReplica, name, description, colours }, now) => {
  const [tile, lane] = templates.cloneNode(true).children;
  tile.querySelector(".name").textContent = lane.querySelector(".name").textContent = name;
  tile.querySelector(".description").textContent = description;
  const source = {
    isReplica, colours, tile, lane,
    whoami: null,  // its latest answer
    firstSeen: now,
    lastSeen: now,
    secondsSeen: [],  // of the last LANE_SECONDS
    turns: 0,  // of its symbol
    isGone: false,
  };
  paint(tile, source);
  paint(lane, source);
  tiles.append(tile);
  lanes.append(lane);
  return source;
};

// Gives an element the colours of a source
const paint = (element, { colours: [circle, path], isReplica }) => {
  element.style.setProperty("--circle", circle);
  element.style.setProperty("--path", path);
  element.classList.toggle("failure", !isReplica);
};

const markSeen = (source, now) => {
  const second = Math.floor(now / 1000);
  if (source.secondsSeen.at(-1) != second) source.secondsSeen.push(second);
  source.lastSeen = now;
  source.isGone = false;
  source.turns += 20;
  source.tile.querySelector("svg").style.rotate = source.turns + "deg";
};

// If its answers were as likely at any time, would it hardly happen that there is none since its last one?
const hasGone = (source, samples) => {
  const count = samples.filter(sample => sample.source == source).length;
  const last = samples.findLastIndex(sample => sample.source == source);
  return count > 0 && ((last + 1) / samples.length) ** count < GONE_CHANCE;
};

// Memory is bounded, however many names there are
const removeOldSources = (counts, now) => {
  for (const [key, source] of sources) {
    const isPast = !counts.has(source) && now - source.lastSeen > LANE_SECONDS * 1000;
    if (!isPast && sources.size <= SOURCES_KEPT) continue;
    sources.delete(key);
    source.tile.remove();
    source.lane.remove();
  }
};


// Drawing

const draw = () => {
  const now = performance.now();
  const counts = countBySource(samples);
  removeOldSources(counts, now);

  const valid = samples.filter(sample => sample.source.isReplica);
  const kept = keepsConnection();
  const comparable = valid.filter(sample => sample.kept == kept);
  const seen = new Set(comparable.map(sample => sample.source));
  for (const source of sources.values()) {
    if (source.isReplica) source.isGone ||= hasGone(source, comparable);
    drawTile(source, counts.get(source) || 0, now);
    drawLane(source, now);
  }
  const replicas = [...sources.values()].filter(source => source.isReplica);
  // The verdict is about the time since the newest replica came, or the last one fell silent
  const since = Math.max(0, ...replicas.map(source => source.isGone ? source.lastSeen : source.firstSeen));
  const alive = replicas.filter(source => !source.isGone && seen.has(source)).length;
  showVerdict(judgeOutage(now) ?? judge(valid.filter(sample => sample.at > since), kept, alive));
  drawFacts(samples.length - valid.length, now);
};

const drawTile = (source, count, now) => {
  const { tile, isReplica, isGone, whoami } = source;
  const share = (100 * count / samples.length || 0).toFixed(1) + "%";
  const upSeconds = (Date.now() - Date.parse(whoami?.started)) / 1000;  // NaN if nobody told
  const silentSeconds = (now - source.lastSeen) / 1000;
  tile.classList.toggle("gone", isGone);
  tile.style.setProperty("--share", share);
  tile.querySelector(".share").textContent = share;
  tile.querySelector(".count").textContent =
    `${count}×` + (upSeconds >= 0 && !isGone ? ", up " + formatDuration(upSeconds) : "");
  const seen = silentSeconds < 2 ? "seen now" : `seen ${formatDuration(silentSeconds)} ago`;
  tile.querySelector(".seen").textContent = isGone
    ? "silent " + formatDuration(silentSeconds)
    : (isReplica && whoami.draining ? "draining · " : "") + seen;
};

const drawLane = (source, now) => {
  const start = Math.floor(now / 1000) - LANE_SECONDS + 1;
  source.secondsSeen = source.secondsSeen.filter(second => second >= start);
  const path = source.secondsSeen.map(second => `M${second - start},.5h1`).join("");
  source.lane.querySelector("path").setAttribute("d", path);
};

// The stream is a fixed number of ticks, of which the oldest becomes the newest
const addToStream = source => {
  const tick = stream.firstChild;
  paint(tick, source);
  stream.append(tick);
};

const judgeOutage = now => {
  const silent = answers.failing && answers.last !== null ? now - answers.last : 0;
  if (silent <= OUTAGE_SHOWN_AFTER) return null;
  return { words: "no valid answer for " + formatDuration(silent / 1000), samples: samples.length };
};

const showVerdict = verdict => {
  heading.textContent = `${verdict.words}${verdict.detail ?? ""} (n=${verdict.samples})`;
  const withoutFigures = verdict.words.replace(/[\d:]/g, "");
  if (withoutFigures == announced) return;  // not each new figure is news to a listener
  announced = withoutFigures;
  announcement.textContent = document.title = verdict.words;
};

const drawFacts = (failed, now) => {
  const recent = samples.filter(sample => now - sample.at < RATE_SECONDS * 1000).length;
  const seconds = Math.min(RATE_SECONDS, (now - startedAt) / 1000);
  const facts = [
    `${(recent / seconds || 0).toFixed(1)} answers/s`,
    `failed ${failed} of ${samples.length}`,
  ];
  if (gaps.count) facts.push(`gaps ${gaps.count}: latest ${gaps.latest} ms, longest ${gaps.longest} ms`);
  factsLine.textContent = facts.join(" · ");
};


// Controls

const reset = () => {
  samples = [];
  sources = new Map();
  startedAt = performance.now();
  answers = { last: null, failing: false };
  gaps = { count: 0, latest: 0, longest: 0 };
  tiles.replaceChildren();
  lanes.replaceChildren();
  stream.replaceChildren(...Array.from({ length: STREAM_LENGTH }, () => document.createElement("i")));
  draw();
};

const togglePause = () => {
  paused = !paused;
  pauseButton.setAttribute("aria-pressed", paused);
  forgetLastAnswer();
};

// A request that finds too many others in flight is left out rather than late
const tick = () => {
  setTimeout(tick, 1000 / rateChoice.value);
  const now = performance.now();
  if (now - lastTick > ASLEEP_AFTER) forgetLastAnswer();
  lastTick = now;
  const maxInFlight = keepsConnection() ? 1 : maxInFlightChoice.value;
  if (!paused && inFlight < maxInFlight) sample();
};

pauseButton.addEventListener("click", togglePause);
byId("reset").addEventListener("click", reset);
reset();
tick();
setInterval(draw, DRAW_INTERVAL);
