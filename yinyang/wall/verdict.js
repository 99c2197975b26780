"use strict";

// What samples show about the balancer, in words that claim no more than that. docs/verdict.md is the specification, and
// yinyang/core/verdict/ the same for the watch; tests/vectors/verdicts.json holds them together. These are functions of
// the samples alone: they know neither the page nor the clock.
//
// A source is what answers are counted by: a replica, or all replicas of a version, a zone or a node. It is a number
// from 0. A sample has
//   at       when it ended, in ms
//   source   the source that answered or failed; null if nobody knows
//   failure  what went wrong, in words, or a status of HTTP; null if it was answered as it should
//   tie      what it carried that may lead it to a certain source: "cookie" or "connection", or null
//   owner    the source that the tie leads to; null if there is none yet
//   started  when the replica started, as it says; null if nobody knows

// Limits
const CLAIM_ERROR = .01;  // the chance that a claim about shares is wrong, however often one looks
const GONE_CHANCE = -13.8;  // a source is gone if so long a silence has a smaller chance (logarithm of 1e-6)
const SILENT_CHANCE = -6.9;  // ... and may be gone (1e-3)
const STICKY_CHANCE = -9.2;  // of samples that would stay with their source without being led there (1e-4)
const CHANGE_EVIDENCE = 8;  // that shares have changed, to begin anew (logarithm of 3000)
const SHIFT_EVIDENCE = 5;  // ... to claim nothing about shares
const RUNS_DEVIATIONS = 5;  // by which repeats exceed what independent choices do
const EVEN_TOLERANCE = .3;  // of an even share, as a part of an equal one
const MAX_MARGIN = .15;  // of a share that is claimed
const UNNOTICED_SHARE = .1;  // of others, when one is called the only one
const RECENT_MAX = 2048;  // samples that are kept
const HISTORY_MAX = 1024;  // choices of a segment that are kept
const PERIOD_MAX = 256;  // of a rotation that is noticed
const LATEST_MAX = 2048;  // choices in which its last turn is still found, as long as it may be broken
const TEST_INTERVAL = 16;  // choices, from one test for a change to the next
const FAILURE_WINDOW = 5000;  // ms over which failures are told
const FAILURE_SAMPLES = 15;  // the least number of samples over which they are, ...
const FAILURE_WINDOW_MAX = 30000;  // ms ... which may take so long
const FAILURES_THAT_DISTURB = 3;  // so many of them make shares that were measured meanwhile worthless
const FAILURES_OF_DOWN = 5;  // in a row, at least
const FAILURES_AT_FIRST = 3;  // ... where there was no answer yet
const CHANGE_SHOWN = 5000;  // ms that a change is told
const WAITING_AFTER = 1500;  // ms without an end, before it is said that requests wait
const ENOUGH_OF_EACH = 5;  // choices, to say anything of shares
const SUBJECTS_MAX = 3;  // sources that are named
const FEW_SAMPLES = 9;  // of which no part is told
const SHARES_NAMED = 4;  // sources whose shares are named

// What is said of one source, and of several, that fail so
const FAILURE_WORDS = {
  "timed out": ["times out", "time out"],
  "no connection": ["cannot be reached", "cannot be reached"],
  "refused": ["refuses connections", "refuse connections"],
  "reset": ["resets connections", "reset connections"],
  "closed": ["closes connections", "close connections"],
  "not whoami": ["answers something else", "answer something else"],
};

const sum = numbers => numbers.reduce((total, number) => total + number, 0);
const range = length => Array.from({ length }, (_, index) => index);


// Statistics

// The logarithm of the gamma function, by Stirling's series (DLMF 5.11.1), which is good to 1e-11 above 8
const logGamma = x => {
  let shift = 0;
  for (; x < 8; x++) shift -= Math.log(x);
  const inverse = 1 / (x * x);
  const series = (1 / 12 - inverse * (1 / 360 - inverse * (1 / 1260 - inverse / 1680))) / x;
  return shift + (x - .5) * Math.log(x) - x + Math.log(2 * Math.PI) / 2 + series;
};
const LOG_GAMMA_HALF = logGamma(.5);

// The logarithm of the likelihood of a sequence with these counts, under a mixture of all shares: Dirichlet, 1/2 for each
const logLikelihoodOfAny = counts =>
  sum(counts.map(count => logGamma(count + .5) - LOG_GAMMA_HALF))
  + logGamma(counts.length / 2) - logGamma(sum(counts) + counts.length / 2);

// How much likelier two groups of answers are with shares of their own than with the same ones
const logEvidenceOfChange = (before, after) =>
  logLikelihoodOfAny(before) + logLikelihoodOfAny(after) - logLikelihoodOfAny(before.map((count, i) => count + after[i]));

// How much likelier the counts are with any shares than with equal ones
const logEvidenceOfUnequal = counts => logLikelihoodOfAny(counts) + sum(counts) * Math.log(counts.length);

const timesLog = (count, share) => count <= 0 ? 0 : share > 0 ? count * Math.log(share) : -1e300;

// Tells whether a share is possible. The probability that the true share is ever called impossible, at any of all looks,
// is at most `error`.
const possibleShares = (count, total, error) => {
  const least = logGamma(count + .5) + logGamma(total - count + .5) - logGamma(total + 1) - 2 * LOG_GAMMA_HALF
    + Math.log(error);
  return share => timesLog(count, share) + timesLog(total - count, 1 - share) > least;
};

// The possible share that is farthest from the observed one, towards the limit (0 or 1)
const shareBound = (count, total, error, limit) => {
  const isPossible = possibleShares(count, total, error);
  if (isPossible(limit)) return limit;
  let possible = total > 0 ? count / total : .5;
  let impossible = limit;
  for (let step = 0; step < 40; step++) {
    const middle = (possible + impossible) / 2;
    if (isPossible(middle)) possible = middle;
    else impossible = middle;
  }
  return possible;
};

// How many answers of one replica it takes to know that all others together have less than UNNOTICED_SHARE
const samplesForOne = () => {
  let total = 1;
  while (possibleShares(total, total, CLAIM_ERROR)(1 - UNNOTICED_SHARE)) total++;
  return total;
};

// How many answers it takes to know that each share is about equal: in the median, where they are equal and answers are
// drawn at random. The source that is farthest from its share is then off by about so many standard deviations.
const samplesForEven = cells => {
  const deviations = Math.sqrt(2 * Math.log(cells)) - .45;
  const isEnough = each => {
    const count = each + deviations * Math.sqrt(each * (1 - 1 / cells));
    return !possibleShares(count, each * cells, CLAIM_ERROR / cells)((1 + EVEN_TOLERANCE) / cells);
  };
  let tooFew = 0;
  let enough = 1;
  while (!isEnough(enough)) [tooFew, enough] = [enough, 2 * enough];
  while (enough - tooFew > 1) {
    const middle = Math.floor((tooFew + enough) / 2);
    if (isEnough(middle)) enough = middle;
    else tooFew = middle;
  }
  return enough * cells;
};


// Draws: choices of a segment, in order

const newDraws = () => ({
  total: 0,
  repeats: 0,  // of the same source as the one before
  counts: [],  // by source
  latest: [],
  matches: Array(PERIOD_MAX + 1).fill(0),  // for each period: choices in a row that repeat the one a period before
  earlierMatches: Array(PERIOD_MAX + 1).fill(0),  // those of earlier rows, of each as many as are no rotation
  period: 0,  // of the rotation; 0: none
  brokenAt: null,  // the total when the rotation was broken; null: it goes on
});

const countOf = (draws, source) => draws.counts[source] || 0;

const addDraw = (draws, source) => {
  const { latest, matches, earlierMatches } = draws;
  if (latest.at(-1) == source) draws.repeats++;
  for (let period = 1; period <= PERIOD_MAX; period++) {
    if (latest.at(-period) == source) {
      matches[period]++;
    } else {
      earlierMatches[period] += Math.min(matches[period], 2 * period);
      matches[period] = 0;
    }
  }
  latest.push(source);
  if (latest.length > LATEST_MAX) latest.shift();
  draws.total++;
  draws.counts[source] = countOf(draws, source) + 1;
};

// That two independent choices are of the same source, by the shares that were seen
const chanceToRepeat = ({ counts, total }) => {
  let chance = 0;
  for (const count of counts) if (count) chance += (count / total) ** 2;
  return chance;
};

// Do choices repeat the one before more often than independent ones would?
const comesInRuns = draws => {
  const chance = chanceToRepeat(draws);
  const excess = draws.repeats - (draws.total - 1) * chance;
  return excess > 0 && excess ** 2 > RUNS_DEVIATIONS ** 2 * (draws.total - 1) * chance * (1 - chance);
};

// How many independent choices a choice is worth, where choices come in runs: at most 1
const independentPart = draws => {
  const pairs = Math.max(draws.total - 1, 0);
  const expected = pairs ? pairs * (1 - chanceToRepeat(draws)) : 0;
  const changes = pairs - draws.repeats;
  return changes < expected ? changes / expected : 1;
};

// The period of the rotation in which so many sources take turns, if that is no chance; or 0. Independent choices repeat
// those of a period before, m times in a row, with a probability of c^m, where c is the chance to repeat. It must be below
// 1 / (10000 n p) for n choices and a period of p, so that it is hardly ever wrong however long one looks. Where choices
// depend on each other, as those of the least busy source do, c is how often they repeated those of a period before, until
// the latest that did not.
const rotationPeriod = (draws, fewest, most) => {
  const chance = chanceToRepeat(draws);
  for (let period = 2; period <= PERIOD_MAX; period++) {
    const matches = draws.matches[period];
    if (matches < 2 * period) continue;
    const sources = new Set(draws.latest.slice(-period)).size;
    if (sources < fewest || sources > most) continue;
    const earlier = (draws.earlierMatches[period] + chance) / (draws.total - period - matches + 1);
    if (-Math.log(Math.max(chance, earlier)) * matches > Math.log(10000 * draws.total * period)) return period;
  }
  return 0;
};

// Finds a rotation, or whether it goes on. Returns how many choices remain, if those before them are of another order.
const followRotation = (draws, active) => {
  if (!draws.period) {
    draws.period = rotationPeriod(draws, active, active);
  } else if (draws.brokenAt === null) {
    if (!draws.matches[draws.period]) draws.brokenAt = draws.total - 1;
  } else if (draws.matches[draws.period] >= draws.period
    && new Set(draws.latest.slice(-draws.period)).size == active) {
    draws.brokenAt = null;  // something else came between
  } else {
    const since = draws.total - draws.brokenAt;
    const isOther = since > 2 * draws.period && rotationPeriod(draws, active, active) > 0;
    if (since > 4 * draws.period + TEST_INTERVAL || isOther) return since;
  }
  return 0;
};


// Evidence: what samples show, kept up to date with each sample

const newEvidence = () => ({
  sources: [],  // see addChoice
  active: 0,  // sources that are there
  choices: 0,  // of the balancer, all of them; the number of the latest one
  latest: null,  // the source of the latest choice
  recent: [],  // samples
  samples: 0,

  failingSince: null,  // ms; null: nothing has failed lately
  firstFailure: 0,  // the number of the sample that failed then
  lastFailure: -FAILURE_SAMPLES,  // the number of the latest sample that failed
  lastFailureAt: 0,
  failures: 0,  // since failingSince
  failuresInARow: 0,
  lastAnswerAt: null,

  change: "",  // the latest: "came", "returned", "restarted", "went", "shares" or "recovered"
  changeSource: null,
  changedAt: 0,
  changed: new Set(),  // sources with a change of this kind, each within CHANGE_SHOWN of the one before
  lastNewcomer: 0,  // the number of its first choice
  hasSettled: false,  // newcomers are a change

  ...newSegment(),
});

// Shares mean something only while the same sources are there. So choices are divided into segments, which begin when
// something changes.
const newSegment = () => ({
  history: [],  // choices: source, owner, tie
  sinceFailure: 0,  // choices since the latest failure
  all: newDraws(),
  free: newDraws(),  // of choices that nothing led
  tie: null,  // the latest that led one
  hits: [],  // led choices that came to their owner, by owner
  led: 0,
  misses: 0,  // led choices that came to another source
  shiftEvidence: 0,  // at the latest test
});

const beginSegment = (evidence, change, source, now) => {
  Object.assign(evidence, newSegment());
  if (change == "came" && !evidence.hasSettled) return;  // at first, everybody comes
  if (change != evidence.change || now - evidence.changedAt >= CHANGE_SHOWN) evidence.changed = new Set();
  if (source !== null) evidence.changed.add(source);  // it may restart again and again
  Object.assign(evidence, { change, changeSource: source, changedAt: now });
};

const countChoice = (evidence, choice) => {
  const { history, all, free } = evidence;
  history.push(choice);
  evidence.sinceFailure++;
  if (history.length > HISTORY_MAX) history.shift();
  addDraw(all, choice.source);
  if (choice.owner === null) {
    addDraw(free, choice.source);
    return;
  }
  if (choice.tie != evidence.tie) Object.assign(evidence, { tie: choice.tie, hits: [], led: 0, misses: 0 });
  evidence.led++;
  if (choice.source == choice.owner) evidence.hits[choice.owner] = (evidence.hits[choice.owner] || 0) + 1;
  else evidence.misses++;
};

// Begins anew with the latest choices
const keepEnd = (evidence, change, kept, now) => {
  const choices = kept ? evidence.history.slice(-kept) : [];
  beginSegment(evidence, change, null, now);
  for (const choice of choices) countChoice(evidence, choice);
  for (const draws of [evidence.all, evidence.free]) {
    draws.period = rotationPeriod(draws, evidence.active, evidence.active);
  }
};

// The choices that show shares: all, unless those that were led came to their owners
const segmentDraws = ({ led, misses, all, free }) => led && !misses ? free : all;

const activeSources = ({ sources }) => range(sources.length).filter(source => sources[source]?.isActive);

// Shares have changed within the latest choices: those before do not show how often a source answers now, if it does
const forgetRates = ({ history, sources, choices }, within) => {
  const chosen = history.slice(-within).filter(({ source, owner }) => source !== owner);
  for (const [number, source] of sources.entries()) {
    if (!source?.isActive || 4 * (choices - source.last) >= chosen.length) continue;
    source.first = choices - chosen.length + 1;
    source.answers = source.returns = chosen.filter(choice => choice.source == number).length;
  }
};

// Compares the latest choices, of several numbers of them, with those before
const testForChange = (evidence, now) => {
  const draws = segmentDraws(evidence);
  const { history, all } = evidence;
  evidence.shiftEvidence = 0;
  if (comesInRuns(draws)) return;
  const cells = activeSources(evidence);
  const tail = [];
  let reached = 0;
  let changedWithin = 0;
  for (let length = TEST_INTERVAL; length <= HISTORY_MAX && length < all.total; length *= 2) {
    for (; reached < length; reached++) {
      const { source, owner } = history.at(-1 - reached);
      if (draws == all || owner === null) tail[source] = (tail[source] || 0) + 1;
    }
    const after = cells.map(source => tail[source] || 0);
    const before = cells.map((source, index) => countOf(draws, source) - after[index]);
    const found = logEvidenceOfChange(before, after);
    // fewer choices may be part of a turn, in which each source comes twice where two proxies take turns
    if (length >= 3 * cells.length && found > evidence.shiftEvidence) {
      evidence.shiftEvidence = found;
      changedWithin = length;
    }
  }
  if (evidence.shiftEvidence <= CHANGE_EVIDENCE) return;
  forgetRates(evidence, changedWithin);
  keepEnd(evidence, "shares", changedWithin, now);
};

// After a choice: do the others, or their order, still hold?
const checkSegment = (evidence, isFree, now) => {
  const { all, free, active, history } = evidence;
  const ofAll = followRotation(all, active);
  let ofFree = isFree ? followRotation(free, active) : 0;
  let kept = ofAll;
  if (segmentDraws(evidence) == free) {
    for (kept = 0; ofFree && kept < history.length; kept++) if (history.at(-1 - kept).owner === null) ofFree--;
  }
  if (kept) keepEnd(evidence, "shares", kept, now);
  else if (all.total % TEST_INTERVAL == 0) testForChange(evidence, now);
};

// How likely a source that is there would be silent for so long (logarithm), if its answers were as likely at any time.
// The first answer tells since when it is there, and not how often it answers. A run of answers that depend on each other
// is one: independent ones of a share p return after another source in 1 - p of all cases. A single run shows nothing,
// unless there was nobody else.
const logChanceOfSilence = ({ choices: latest }, { first, last, answers, returns, wasAlone }) => {
  const silent = latest - last;
  const choices = latest - first + 1;
  const others = 1 - answers / choices;
  let independent = Math.max(answers - 1, 0);
  if ((returns || !wasAlone) && returns < independent * others) independent = returns / others;
  return silent >= RECENT_MAX ? GONE_CHANCE - 1  // however rarely it answered
    : independent * Math.log1p(-silent / choices);
};

// Would a source that was there all the time have answered by now? All others take turns, or it would have an equal share,
// or the smallest that counts.
const isSettled = ({ active, choices, lastNewcomer, all }) => {
  const share = Math.min(1 / (active + 1), UNNOTICED_SHARE);
  return all.period > 0 || (choices - lastNewcomer) * independentPart(all) * Math.log1p(-share) < SILENT_CHANCE;
};

const goSource = (evidence, number, now) => {
  Object.assign(evidence.sources[number], { isActive: false, wentAt: now });
  evidence.active--;
  beginSegment(evidence, "went", number, now);
};

// Those go without which a broken rotation goes on
const missTurns = (evidence, now) => {
  const draws = segmentDraws(evidence);
  const period = draws.period && draws.brokenAt !== null ? rotationPeriod(draws, 1, evidence.active - 1) : 0;
  if (!period) return;
  const goOn = new Set(draws.latest.slice(-period));
  for (const number of activeSources(evidence)) if (!goOn.has(number)) goSource(evidence, number, now);
};

// Is a source that is there silent for longer than chance explains, or has it missed two turns?
const mayBeGone = (evidence, number) => {
  const source = evidence.sources[number];
  const { period } = segmentDraws(evidence);
  if (!source?.isActive) return false;
  return (period > 0 && evidence.choices - source.last >= 2 * period + 2)
    || logChanceOfSilence(evidence, source) < SILENT_CHANCE;
};

const addChoice = (evidence, { at, source: number, tie, owner, started }) => {
  const source = evidence.sources[number] ??= {
    isActive: false,  // it is there
    wasThere: false,
    wasAlone: false,  // nobody else was there when it came
    first: 0, last: 0,  // the numbers of its first and its latest choice, since it is there
    answers: 0,  // of the balancer's choice, since it is there
    returns: 0,  // of those: after another source
    lastAt: 0,
    started: null,
    wentAt: null,
  };
  const isRestarted = source.isActive && started && source.started && started != source.started;
  const isFree = !tie || owner === null;
  // what came to its owner was no choice, and says nothing of those that are silent meanwhile
  const isChosen = isFree || owner !== number || evidence.misses > 0;
  if (isChosen) evidence.choices++;
  const isNew = !source.isActive || isRestarted;
  if (!source.isActive) {
    evidence.hasSettled ||= isSettled(evidence);
    evidence.lastNewcomer = evidence.choices;
    beginSegment(evidence, source.wasThere ? "returned" : "came", number, at);
    evidence.active++;
    Object.assign(source, { isActive: true, wasThere: true, wentAt: null });
  } else if (isRestarted) {
    beginSegment(evidence, "restarted", number, at);
  } else {
    countChoice(evidence, { source: number, tie, owner: isFree ? null : owner });
    checkSegment(evidence, isFree, at);
  }
  if (isNew) Object.assign(source, { first: evidence.choices, answers: 0, returns: 0, wasAlone: evidence.active == 1 });
  if (isChosen) {
    source.answers++;
    if (source.answers > 1 && evidence.latest !== number) source.returns++;
    evidence.latest = number;
  }
  source.last = evidence.choices;
  source.lastAt = at;
  source.started = started || source.started;
  missTurns(evidence, at);
  for (const other of activeSources(evidence)) {
    if (logChanceOfSilence(evidence, evidence.sources[other]) < GONE_CHANCE) goSource(evidence, other, at);
  }
};

// Has a request failed lately?
const stillFails = ({ failingSince, lastFailureAt, lastFailure, samples }, now) =>
  failingSince !== null && now - lastFailureAt <= FAILURE_WINDOW_MAX
  && !(now - lastFailureAt > FAILURE_WINDOW && samples - lastFailure >= FAILURE_SAMPLES);

// Takes a sample into account
const addSample = (evidence, sample) => {
  if (evidence.failingSince !== null && !stillFails(evidence, sample.at)) {
    evidence.failingSince = null;
    if (evidence.failures >= FAILURES_THAT_DISTURB) keepEnd(evidence, "recovered", evidence.sinceFailure, sample.at);
    evidence.failures = 0;
  }
  evidence.recent.push(sample);
  if (evidence.recent.length > RECENT_MAX) evidence.recent.shift();
  evidence.samples++;
  if (sample.failure !== null) {
    if (evidence.failingSince === null) {
      evidence.failingSince = sample.at;
      evidence.firstFailure = evidence.samples;
    }
    evidence.failures++;
    evidence.sinceFailure = 0;
    evidence.failuresInARow++;
    evidence.lastFailure = evidence.samples;
    evidence.lastFailureAt = sample.at;
  } else {
    evidence.failuresInARow = 0;
    evidence.lastAnswerAt = sample.at;
  }
  if (sample.source !== null) addChoice(evidence, sample);
};

// Has the number of a source that is not there stand for another one
const forgetSource = (evidence, source) => {
  delete evidence.sources[source];
  for (const sample of evidence.recent) if (sample.source == source) sample.source = null;
  if (evidence.changeSource == source) evidence.change = "";
};


// The verdict. It has up to three findings, of which the first that there is makes the headline:
//   state   what is wrong, or has just changed
//   tie     what leads requests to the same source again and again
//   spread  how the balancer shares requests out

// What is known now; `waiting` requests are under way, the first of them since `waitingSince`
const findVerdict = (evidence, now, waiting = 0, waitingSince = 0) => {
  const found = findSpread(evidence);
  findTie(found, evidence);
  return Object.assign(found, findWaiting(evidence, now, waiting, waitingSince)
    ?? (evidence.samples ? null : { state: "nothing" })
    ?? findDown(evidence, now)
    ?? findFailing(evidence, now)
    ?? findChange(evidence, now)
    ?? findSilent(evidence, now));
};

const findWaiting = ({ recent }, now, waiting, waitingSince) => {
  if (!waiting) return null;
  const last = recent.at(-1);
  const before = recent.at(-1 - FAILURE_SAMPLES);
  const forMs = now - Math.max(waitingSince, last?.at ?? 0);
  const limit = Math.max(WAITING_AFTER, before ? Math.floor(4 * (last.at - before.at) / FAILURE_SAMPLES) : 0);
  return forMs > limit ? { state: "waiting", waiting, forMs } : null;
};

// Are so many failures in a row more than chance, given how many failed before them; and, where there are several sources,
// if half of them fail since the first of these failures?
const findDown = (evidence, now) => {
  const { recent, failuresInARow: row, lastAnswerAt, failingSince } = evidence;
  if (row < (lastAnswerAt === null ? FAILURES_AT_FIRST : FAILURES_OF_DOWN)) return null;
  const end = Math.max(recent.length - row, 0);
  const before = recent.slice(Math.max(end - 2 * FAILURE_SAMPLES, 0), end);
  const failed = before.filter(sample => sample.failure !== null).length;
  const part = Math.max((failed + .5) / (before.length + 1), sourcesAtFirstFailure(evidence) > 1 ? .5 : 0);
  if (before.length && row * Math.log(part) > STICKY_CHANCE) return null;
  const forMs = now - (lastAnswerAt ?? failingSince);
  return { state: "down", forMs, ...findFailures(evidence, row), failures: row, failureSamples: row };
};

// Or not long before, as a request may time out long after its source went
const sourcesAtFirstFailure = ({ active, sources, failingSince }) => {
  const start = Math.max(failingSince - FAILURE_WINDOW_MAX, 0);
  return active + sources.filter(source => source && source.wentAt !== null && source.wentAt >= start).length;
};

// Have some failed lately, and how many of those since the first one?
const findFailing = (evidence, now) => {
  if (!stillFails(evidence, now)) return null;
  const { recent, samples, firstFailure, failingSince, lastFailure, lastFailureAt } = evidence;
  const sinceFirst = samples - firstFailure;
  let number = 0;
  for (; number < Math.min(sinceFirst + 1, recent.length); number++) {
    const age = now - recent.at(-1 - number).at;
    if ((age > FAILURE_WINDOW && number >= FAILURE_SAMPLES) || age > FAILURE_WINDOW_MAX) break;
  }
  const found = { forMs: now - failingSince, calmMs: now - lastFailureAt, ...findFailures(evidence, number) };
  if (found.failures > FAILURES_AT_FIRST && number == sinceFirst + 1) {
    found.failures--;  // by which it began; what follows shows how many fail
    found.failureSamples--;
  }
  if (!found.failures) return null;
  if (!hasRecovered(found, samples - lastFailure)) return { state: "failing", ...found };
  const news = evidence.changedAt > lastFailureAt ? findChange(evidence, now) : null;  // what has happened since
  return news ?? { state: "recovering", ...found };
};

// Are so many answers since the last failure more than chance?
const hasRecovered = ({ failures, failureSamples }, since) => {
  const before = failureSamples - since;
  if (failures < FAILURES_AT_FIRST || before <= failures) return since >= FAILURE_SAMPLES;
  return since * Math.log1p(-failures / before) < SILENT_CHANCE;
};

// The most frequent failure of the latest samples, of several the latest, and whose it is
const findFailures = (evidence, number) => {
  const { sources, recent, failingSince } = evidence;
  const latest = number ? recent.slice(-number) : [];
  const failed = latest.filter(sample => sample.failure !== null);
  const kinds = new Map();
  for (const { failure } of [...failed].reverse()) kinds.set(failure, (kinds.get(failure) || 0) + 1);
  const failure = [...kinds].reduce((most, one) => one[1] > most[1] ? one : most, [null, 0])[0];
  const attributed = failed.filter(sample => sample.source !== null);
  const isInferred = 2 * attributed.length <= failed.length;
  const subjects = isInferred  // who has fallen silent since is the likely cause
    ? range(sources.length).filter(source => mayBeGone(evidence, source)
      || (sources[source]?.wentAt != null && sources[source].wentAt >= failingSince))
    : [...new Set(attributed.map(sample => sample.source))].sort((a, b) => a - b);
  return { failures: failed.length, failureSamples: latest.length, failure, subjects, subjectCount: subjects.length, isInferred };
};

const findChange = ({ change, changeSource, changedAt, changed }, now) =>
  ["came", "returned", "restarted", "went"].includes(change) && now - changedAt < CHANGE_SHOWN
    ? { state: "changed", change, forMs: now - changedAt, subjects: [changeSource], subjectCount: changed.size }
    : null;

const findSilent = (evidence, now) => {
  const subjects = activeSources(evidence).filter(source => mayBeGone(evidence, source));
  const forMs = Math.max(...subjects.map(source => now - evidence.sources[source].lastAt));
  return subjects.length ? { state: "silent", forMs, subjects, subjectCount: subjects.length } : null;
};

// Do samples that something led always come to their owner, where there are several sources? If nothing led them, the
// others show how likely that is, and so do all: where connections are kept, there are few others.
const findTie = (verdict, { led, misses, hits, free, all, tie }) => {
  if (!led || misses) return;
  if (Math.min(logChanceOfHits(hits, free), logChanceOfHits(hits, all)) < STICKY_CHANCE) Object.assign(verdict, { tie, led });
};

// How likely so many choices are to come to their owners by chance (logarithm), given other choices, or all
const logChanceOfHits = (hits, draws) => {
  if (draws.counts.filter(count => count).length < 2) return 0;
  let logChance = 0;
  hits.forEach((count, source) => {
    logChance += count * Math.log(shareBound(countOf(draws, source), draws.total, CLAIM_ERROR, 1));
  });
  return logChance;
};

const findSpread = evidence => {
  const draws = segmentDraws(evidence);
  const cells = activeSources(evidence);
  const counts = cells.map(source => countOf(draws, source));
  const verdict = { state: "", tie: "", samples: draws.total, active: cells.length, more: 0, period: 0 };
  if (!cells.length) return { ...verdict, spread: "nobody", shares: [], margin: 0 };

  const shares = cells.map((source, index) => ({
    source,
    low: shareBound(counts[index], draws.total, CLAIM_ERROR / cells.length, 0),
    seen: draws.total ? counts[index] / draws.total : 0,
    high: shareBound(counts[index], draws.total, CLAIM_ERROR / cells.length, 1),
  }));
  const margin = Math.max(...shares.map(({ low, seen, high }) => Math.max(high - seen, seen - low)));
  const found = { ...verdict, shares, margin };
  const isRotating = draws.period
    && (draws.brokenAt === null || draws.total - draws.brokenAt <= 2 * draws.period + 2);
  const fewest = Math.min(...counts);
  if (cells.length == 1) return { ...found, ...judgeOne(draws.total, shares[0].low) };
  if (isRotating) return { ...found, ...judgeRotation(draws, cells) };
  const mayShift = evidence.shiftEvidence > SHIFT_EVIDENCE || (draws.period > 0 && evidence.shiftEvidence > 0);
  if (mayShift) return { ...found, spread: "shifting" };
  if (draws.period) return { ...found, spread: "early" };  // its order is another one; wait and see
  if (comesInRuns(draws) && fewest >= ENOUGH_OF_EACH) return { ...found, spread: "runs" };
  if (logEvidenceOfUnequal(counts) > -Math.log(CLAIM_ERROR)) {
    const isKnown = fewest >= ENOUGH_OF_EACH && margin <= MAX_MARGIN;
    return { ...found, spread: isKnown ? "weighted" : "uneven so far" };
  }
  return { ...found, ...judgeEven(found, fewest) };
};

const judgeOne = (samples, low) => ({
  spread: low >= 1 - UNNOTICED_SHARE ? "one" : "one so far",
  more: Math.max(samplesForOne() - samples, 0),
});

// The shares of a rotation are those of its latest turn before it was broken, and are known exactly
const judgeRotation = ({ latest, period, total, brokenAt }, cells) => {
  const end = latest.length - (brokenAt === null ? 0 : total - brokenAt);
  const turn = latest.slice(end - period, end);
  const shares = cells
    .map(source => ({ source, seen: turn.filter(one => one == source).length / period }))
    .filter(({ seen }) => seen > 0)
    .map(({ source, seen }) => ({ source, low: seen, seen, high: seen }));
  return { spread: "turns", period, shares, margin: 0 };
};

// Shares are not known to be unequal: are they known to be about equal?
const judgeEven = ({ shares, samples }, fewest) => {
  const equal = 1 / shares.length;
  const margin = Math.max(...shares.map(({ low, high }) => Math.max(high - equal, equal - low)));
  if (margin <= EVEN_TOLERANCE * equal) return { spread: "even", margin };
  const more = Math.max(samplesForEven(shares.length) - samples, Math.floor(samples / 10));
  return { spread: fewest < ENOUGH_OF_EACH ? "early" : "even so far", more };
};


// Words. `naming` has the names of the sources, and what one and several of them are called.

const verdictKind = ({ state, tie, spread }) => state || (tie && "sticky by " + tie) || spread;

const formatSeconds = ms => {
  const seconds = Math.floor((ms + 500) / 1000);
  if (seconds < 120) return seconds + " s";
  if (seconds < 7200) return Math.floor((seconds + 30) / 60) + " min";
  return Math.floor((seconds + 1800) / 3600) + " h";
};

// Below 10 with a tenth, if it has one
const formatTenths = number => {
  const tenths = Math.floor(number * 10 + .5);
  return String(tenths >= 100 ? Math.floor((tenths + 5) / 10) : tenths / 10);
};

// With a tenth only where it is known, or where there would be nothing else
const formatPercent = (share, margin = 1) =>
  (margin < .01 || share < .01 ? formatTenths(100 * share) : Math.floor(100 * share + .5)) + " %";

// With two digits that are not 0
const formatAbout = number => {
  let unit = 1;
  while (number >= 100 * unit) unit *= 10;
  return Math.floor((number + Math.floor(unit / 2)) / unit) * unit;
};

const countWords = (number, one, several) => `${number} ${number == 1 ? one : several}`;

const headline = (verdict, naming) => {
  const { state, tie, waiting, forMs, calmMs } = verdict;
  switch (state) {
    case "nothing": return "waiting for the first answer";
    case "waiting":
      return countWords(waiting, "request waits", "requests wait") + " for an answer, for " + formatSeconds(forMs);
    case "down": return "every request fails: " + failureWords(verdict, naming);
    case "failing": return fractionWords(verdict) + failureWords(verdict, naming);
    case "recovering": return "no failure for " + formatSeconds(calmMs);
    case "changed": return changeWords(verdict, naming);
    case "silent": return subjectWords(verdict, naming) + " may be gone";
  }
  return tie ? "sticky by " + tie : spreadWords(verdict, naming);
};

// 1 in 3 requests fails, 2 in 3 fail, or 42 % fail: the simplest that is within a standard error, or 3 points
const fractionWords = ({ failures, failureSamples }) => {
  if (failures < FAILURES_AT_FIRST || failureSamples < FEW_SAMPLES) {
    return countWords(failures, "request", "requests") + " failed: ";
  }
  if (failures == failureSamples) return `${failures} requests in a row failed: `;  // too few to say that all do
  const part = failures / failureSamples;
  const margin = Math.max(.03, Math.sqrt(part * (1 - part) / failureSamples));
  for (let whole = 2; whole <= 10; whole++) {
    const failed = Math.floor(part * whole + .5);
    if ((failed == 1 || whole <= 5) && failed > 0 && failed < whole && Math.abs(part - failed / whole) <= margin) {
      return `${failed} in ${whole} requests ${failed == 1 ? "fails" : "fail"}: `;
    }
  }
  return formatPercent(part) + " of requests fail: ";
};

// What fails, whose it is, and for how long
const failureWords = (verdict, naming) =>
  causeWords(verdict, naming)
  + (verdict.failures >= FAILURES_AT_FIRST ? ", for " + formatSeconds(verdict.forMs) : "")
  + silentWords(verdict, naming);

// Is the failure said of its subjects? Who times out does not answer: so a silent source fails.
const namesSubjects = ({ subjectCount, isInferred, failure }) =>
  subjectCount > 0 && (!isInferred || failure == "timed out");

const causeWords = (verdict, naming) => {
  const { failure, subjectCount } = verdict;
  if (namesSubjects(verdict)) return `${subjectWords(verdict, naming)} ${failureVerb(failure, subjectCount == 1)}`;
  return failureName(failure);
};

const failureName = failure => typeof failure == "number" ? "HTTP " + failure : failure;

// Who is silent, and so may be the cause
const silentWords = (verdict, naming) => {
  if (!verdict.subjectCount || namesSubjects(verdict)) return "";
  return `; ${subjectWords(verdict, naming)} ${verdict.subjectCount == 1 ? "is" : "are"} silent`;
};

const failureVerb = (failure, isOne) => {
  if (typeof failure == "number") return (isOne ? "answers " : "answer ") + failure;
  return (FAILURE_WORDS[failure] ?? ["fails", "fail"])[isOne ? 0 : 1];
};

const changeWords = ({ change, subjects, subjectCount }, naming) => {
  const [one, several] = {
    came: ["has come", "have come"],
    returned: ["is back", "are back"],
    restarted: ["has restarted", "have restarted"],
    went: ["is gone", "are gone"],
  }[change];
  return subjectCount == 1 ? `${naming.names[subjects[0]]} ${one}` : `${subjectCount} ${naming.several} ${several}`;
};

const subjectWords = ({ subjects, subjectCount }, { names, several }) => {
  if (subjectCount > SUBJECTS_MAX) return `${subjectCount} ${several}`;
  const named = subjects.map(source => names[source]);
  return named.length < 2 ? named.join("") : named.slice(0, -1).join(", ") + " and " + named.at(-1);
};

const spreadWords = (verdict, naming) => {
  const { spread, active, shares } = verdict;
  switch (spread) {
    case "nobody": return "nobody has answered yet";
    case "one so far": return `only ${rankedWords(verdict, naming, 1)} so far`;
    case "one": return `one ${naming.one} only: ${rankedWords(verdict, naming, 1)}`;
    case "early": return `${active} ${naming.several} so far`;
    case "shifting": return "shares are shifting";
    case "runs": return "answers come in runs";
    case "even so far": return `about even so far: ${active} ${naming.several}`;
    case "even": return `even across ${active}: each gets ${formatPercent(1 / active)}`;
  }
  const isEqual = shares.every(({ low, high }) => high - low <= 1e-9 && Math.abs(high * active - 1) <= 1e-9);
  if (spread == "turns" && isEqual) return `${active} ${naming.several} take turns`;
  if (active > SHARES_NAMED) return `uneven: ${rankedWords(verdict, naming, 1, true)} at most`;
  const equal = 1 / active;
  const isSlight = shares.every(({ low, high }) =>
    high - equal <= EVEN_TOLERANCE * equal && equal - low <= EVEN_TOLERANCE * equal);
  const prefix = spread == "uneven so far" ? "uneven so far: " : isSlight ? "slightly uneven: " : "";
  return prefix + rankedWords(verdict, naming, active, true);
};

// So many sources, the one with the largest share first
const rankedWords = ({ shares, margin }, { names }, number, withShares = false) => [...shares]
  .sort((a, b) => b.seen - a.seen || a.source - b.source)
  .slice(0, number)
  .map(({ source, seen }, rank) =>
    names[source] + (withShares ? (rank ? " " : " gets ") + formatPercent(seen, margin) : ""))
  .join(", ");

// What the headline rests on
const detail = (verdict, naming) => {
  const { state, tie, failures, failureSamples, forMs, led } = verdict;
  switch (state) {
    case "down": return `${failures} in a row`;
    case "failing": return `${failures} of the last ${failureSamples}`;
    case "recovering": return `${failures} of the last ${failureSamples} failed: ${causeWords(verdict, naming)}${silentWords(verdict, naming)}`;
    case "silent": return "silent for " + formatSeconds(forMs);
    case "changed": return `${formatSeconds(forMs)} ago; ${tie ? "sticky" : spreadWords(verdict, naming)}`;
    case "nothing": case "waiting": return "";
  }
  if (!tie) return basisWords(verdict, naming);
  const what = tie == "cookie" ? "carried a cookie" : "used a connection again";
  return `all ${led} that ${what} went back; others: ${spreadWords(verdict, naming)}`;
};

// How precise the spread is, or how it will be known
const basisWords = ({ spread, period, active, shares, margin, more, samples }, naming) => {
  if (spread == "turns" && period == active) return formatPercent(1 / period, 0) + " each, one after the other";
  if (spread == "turns") return `exactly: the order repeats every ${period} answers`;
  const size = more && spread != "early" ? `about ${formatAbout(more)} more to be sure` : countWords(samples, "sample", "samples");
  switch (spread) {
    case "one": return `another would get less than ${formatPercent(1 - shares[0].low)}; ${size}`;
    case "even": case "weighted": return `±${formatTenths(Math.max(100 * margin, .1))} points; ${size}`;
    case "runs": return `the same ${naming.one} again and again, so shares prove nothing; ${size}`;
    case "even so far": {
      const low = Math.min(...shares.map(share => share.low));
      const high = Math.max(...shares.map(share => share.high));
      return `each gets ${formatPercent(low)} to ${formatPercent(high)}; ${size}`;
    }
  }
  return size;
};
