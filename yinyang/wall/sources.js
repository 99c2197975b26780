"use strict";

// Who answered: a source for each replica, or for each version, zone or node, and one for each kind of failure of which
// nobody knows whose it is. All is made from records (sampler.js), so that it can be made again from a file, or by
// something else.

const SOURCES_MAX = 250;  // that have a number
const GHOST_SECONDS = 60;  // that a source is shown after it has gone
const LANE_SECONDS = 180;
const SHARE_WINDOW = 20000;  // ms over which shares are told, unless something has changed since
const SHARE_SAMPLES = 12;  // the least number of samples over which they are
const LOG_WINDOW = 600_000;  // ms of records that are kept
const LOG_MAX = 30_000;
const ASLEEP_AFTER = 5000;  // ms without a record before which nobody knows when answers ended
const UNKNOWN_COLOUR = "#888888";
const COLOUR = /^#[\da-f]{6}$/i;
const FAILURE_DESCRIPTIONS = {
  "no connection": "refused, reset, name or CORS",
  "timed out": "no answer in time",
  "not whoami": "another page answers",
  redirected: "to another page",
};

const newState = by => ({
  by,
  evidence: newEvidence(),
  sources: [],  // by number
  numbers: new Map(),  // by key
  keys: new Map(),  // the latest of each host
  failures: new Map(),  // sources without a number, by kind
  secondTotals: new Map(),  // samples in each second
  owners: {},  // the number of the source that answered last, for each tie
  records: 0,
  failed: 0,
  isFailing: false,  // requests have failed since the last answer
  longestGap: 0,  // between answers, around failures, in ms
  lastAnswer: null,  // when it came; null: nobody knows
  lastRecord: 0,
});

// What a record is counted by. A failure may tell the host alone: then it is counted as its latest answer.
const keyOf = ({ keys, by }, record) => {
  if (!("version" in record) && keys.has(record.host)) return keys.get(record.host);
  const key = by == "replica" ? `${record.host},${record.version ?? ""}` : record[by] ?? `no ${by}`;
  keys.set(record.host, key);
  return key;
};

const newSource = given => ({
  ...given,
  last: 0,
  seconds: new Map(),  // samples in each second
  count: 0,  // of its samples
  turns: 0,  // of its symbol
  record: null,  // its latest answer
});

const findSource = (state, record) => {
  const key = keyOf(state, record);
  let number = state.numbers.get(key);
  if (number === undefined) {
    number = freeNumber(state);
    if (number === null) return null;
    state.numbers.set(key, number);
    state.sources[number] = newSource({
      key,
      number,
      isFailure: false,
      name: state.by == "replica" ? record.short || record.host : key,
      colours: [0, 1].map(index => COLOUR.exec(record.colours?.[index])?.[0] ?? UNKNOWN_COLOUR),
    });
  }
  return state.sources[number];
};

// The lowest free one, or that of the source that went first; null if all are there
const freeNumber = state => {
  const { sources, evidence } = state;
  for (let number = 0; number < SOURCES_MAX; number++) if (!sources[number]) return number;
  const gone = sources.filter(source => !evidence.sources[source.number]?.isActive).sort((a, b) => a.last - b.last)[0];
  if (!gone) return null;
  removeSource(state, gone);
  return gone.number;
};

const removeSource = ({ sources, numbers, keys, evidence }, { number, key }) => {
  numbers.delete(key);
  delete sources[number];
  for (const [host, latest] of keys) if (latest == key) keys.delete(host);
  forgetSource(evidence, number);
};

const findFailure = ({ failures }, failure) => {
  const name = failureName(failure);
  if (!failures.has(name)) {
    failures.set(name, newSource({
      key: name, number: null, isFailure: true, name, description: FAILURE_DESCRIPTIONS[name] ?? "by something in front of the replicas", colours: [],
    }));
  }
  return failures.get(name);
};

// Takes a record into account; returns its source
const addRecord = (state, record) => {
  const { evidence, owners } = state;
  const { at, ms, failure = null, tie = null } = record;
  const replica = typeof record.host == "string" ? findSource(state, record) : null;
  const source = replica ?? findFailure(state, failure ?? "not whoami");
  const number = replica ? replica.number : null;
  const led = record.cookies === false ? tie + " without cookies" : tie;
  const owner = (tie && replica ? owners[led] : null) ?? null;
  addSample(evidence, {
    at, ms, source: number, failure, owner, tie: owner === null ? null : tie,
    started: state.by == "replica" ? Date.parse(record.started) || null : null,
  });
  if (tie && replica) owners[led] = number;
  noteGap(state, at, failure);
  state.records++;
  state.failed += failure !== null;
  const second = Math.floor(at / 1000);
  for (const counts of [source.seconds, state.secondTotals]) counts.set(second, (counts.get(second) || 0) + 1);
  source.count++;
  source.last = at;
  if (failure === null) source.turns++;
  if (replica && (failure === null || !source.record)) source.record = record;
  return source;
};

// After a pause nobody knows when answers ended, so that no gap can be told
const noteGap = (state, at, failure) => {
  if (at - state.lastRecord > ASLEEP_AFTER && state.lastRecord) state.lastAnswer = null;
  state.lastRecord = at;
  if (failure !== null) {
    state.isFailing = true;
    return;
  }
  if (state.isFailing && state.lastAnswer !== null) {
    state.longestGap = Math.max(state.longestGap, Math.round(at - state.lastAnswer));
  }
  state.isFailing = false;
  state.lastAnswer = at;
};

// Memory is bounded, however many names there are
const removeOldSources = (state, at) => {
  const { sources, failures, evidence, secondTotals } = state;
  const isOld = source => at - source.last > GHOST_SECONDS * 1000;
  for (const source of sources) {
    if (source && !evidence.sources[source.number]?.isActive && isOld(source)) removeSource(state, source);
  }
  for (const [name, source] of failures) if (isOld(source)) failures.delete(name);
  const start = Math.floor(at / 1000) - LANE_SECONDS;
  for (const counts of [secondTotals, ...sources.filter(Boolean).map(source => source.seconds)]) {
    for (const second of counts.keys()) {
      if (second >= start) break;
      counts.delete(second);
    }
  }
};

// What the last seconds show of each source: its share of the choices, how many of its samples failed, and how long its
// answers took. Samples that a tie led to their owner are no choices, as for the verdict, unless there are no others.
const recentFigures = ({ evidence }, at) => {
  const figures = new Map();
  const start = Math.max(at - SHARE_WINDOW, evidence.change ? evidence.changedAt : 0, evidence.failingSince ?? 0);
  const areLed = evidence.led > 0 && !evidence.misses;
  let total = 0;
  let choices = 0;
  for (let back = 1; back <= evidence.recent.length; back++) {
    const sample = evidence.recent.at(-back);
    if (sample.at < start && (total >= SHARE_SAMPLES || sample.at < at - SHARE_WINDOW)) break;
    total++;
    const key = sample.source ?? failureName(sample.failure ?? "not whoami");
    if (!figures.has(key)) figures.set(key, { count: 0, choices: 0, share: 0, failed: 0, times: [] });
    const one = figures.get(key);
    one.count++;
    if (!areLed || sample.owner === null) {
      one.choices++;
      choices++;
    }
    if (sample.failure === null) one.times.push(sample.ms);
    else one.failed++;
  }
  for (const one of figures.values()) one.share = choices ? one.choices / choices : one.count / total;
  return figures;
};

const quantile = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];


// The record of the last minutes, to save and to open again

const addToLog = (log, record) => {
  log.push(record);
  if (log.length > LOG_MAX || record.at - log[0].at > LOG_WINDOW * 1.1) {
    log.splice(0, Math.max(log.length - LOG_MAX, log.findIndex(one => record.at - one.at <= LOG_WINDOW)));
  }
};

const writeLog = log => log
  .map(record => JSON.stringify({ ...record, at: new Date(record.at).toISOString(), ms: Math.round(record.ms * 10) / 10 }))
  .join("\n") + "\n";

// The records in lines of JSON; lines that are none, such as a description of a run, are left out
const readLog = text => text.split("\n").flatMap(line => {
  try {
    const record = JSON.parse(line);
    const at = Date.parse(record.at);
    const known = typeof record.host == "string" ? {} : { host: record.served_by };
    return isNaN(at) || !("ms" in record) ? [] : [{ ...record, ...known, at }];
  } catch {
    return [];
  }
}).sort((a, b) => a.at - b.at).slice(-LOG_MAX);
