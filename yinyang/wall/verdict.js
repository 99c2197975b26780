"use strict";

// What samples show about the balancer, in words that claim no more than that; docs/wall.md explains each verdict.
// These are pure functions: they know neither the page nor the clock.
//
// A sample has
//   source         the replica that answered; the same object for each of its answers
//   kept           whether its connection was asked to be kept for the next request
//   withCookies    whether it carried the cookies that balancer and replicas had set
//   requestNumber  which request on its connection it was, from 1
//
// A verdict has
//   words    the finding
//   detail   how precise it is, if it has a precision
//   samples  the number of samples that it rests on

const MIN_SAMPLES = 30;  // of any verdict
const MIN_SAMPLES_PER_REPLICA = 20;  // of a verdict about shares
const MIN_SAMPLES_OF_HALF = 41;  // when two halves are compared
const MIN_FREE_SAMPLES = 20;  // without a cookie or a kept connection, to compare with
const MIN_COUNT_OF_WEIGHT = 5;  // of the rarest replica
const MAX_WEIGHTS = 8;
const MAX_ERROR_OF_WEIGHT = .12;
const MAX_ERROR_OF_EVEN = .5;  // in parts of an equal share
const MAX_CHANCE_OF_STICKY = .001;  // that samples without stickiness look like it
const MAX_CHANCE_OF_UNSEEN = .01;  // that a replica which exists was not seen
const RUNS_DEVIATIONS = 5;  // standard deviations above what independent samples do

const NOT_ENOUGH = { words: "not enough samples yet" };

const sum = numbers => numbers.reduce((total, number) => total + number, 0);

// How many samples each source has, as a Map
const countBySource = samples => {
  const counts = new Map();
  for (const { source } of samples) counts.set(source, (counts.get(source) || 0) + 1);
  return counts;
};

// The counts alone, the largest first
const sortedCounts = samples => [...countBySource(samples).values()].sort((a, b) => b - a);


// Statistics

// The interval of Wilson for a share; z is the quantile of the normal distribution for its confidence
const wilsonInterval = (count, total, z) => {
  const middle = count + z ** 2 / 2;
  const halfWidth = z * Math.sqrt(count * (1 - count / total) + z ** 2 / 4);
  return { low: (middle - halfWidth) / (total + z ** 2), high: (middle + halfWidth) / (total + z ** 2) };
};

// Is a chi-square with so many degrees of freedom significant at 1e-4? That is 1 % for a hundred looks at the same
// samples. The limit is the approximation of Wilson and Hilferty, where 3.72 is the quantile of the normal distribution.
const isSignificant = (chiSquare, degreesOfFreedom) => {
  const variance = 2 / (9 * degreesOfFreedom);
  return chiSquare > degreesOfFreedom * (1 - variance + 3.72 * Math.sqrt(variance)) ** 3;
};

// Do the shares of two groups of samples differ? The groups must be of the same size.
const sharesDiffer = (earlier, later) => {
  const earlierCounts = countBySource(earlier);
  const laterCounts = countBySource(later);
  const sources = [...new Set([...earlierCounts.keys(), ...laterCounts.keys()])];
  const chiSquare = sum(sources.map(source => {
    const before = earlierCounts.get(source) || 0;
    const after = laterCounts.get(source) || 0;
    return (before - after) ** 2 / (before + after);
  }));
  return sources.length > 1 && isSignificant(chiSquare, sources.length - 1);
};

// The samples since shares last changed: the later half for as long as the two halves differ
const sinceSharesChanged = samples => {
  const half = Math.floor(samples.length / 2);
  if (half < MIN_SAMPLES_OF_HALF || !sharesDiffer(samples.slice(-2 * half, -half), samples.slice(-half))) return samples;
  return sinceSharesChanged(samples.slice(-half));
};


// Verdicts

// Pairs of samples in a row that a cookie, or a kept connection, can lead to the same replica
const linkedPairs = (samples, kept) => samples
  .map((sample, index) => ({ sample, previous: samples[index - 1] }))
  .filter(({ sample, previous }) => previous && (!kept || sample.requestNumber > 1));

// All linked samples stayed with their replica. That is a finding only if free samples, which nothing leads, go to
// several replicas, so that it would hardly have happened by chance.
const judgeSticky = (counts, pairs, freeSamples, kept) => {
  const freeCounts = sortedCounts(freeSamples);
  if (freeCounts.length > 1) {
    const largestShare = wilsonInterval(freeCounts[0], freeSamples.length, 3).high;
    if (freeSamples.length < MIN_FREE_SAMPLES || largestShare ** pairs.length >= MAX_CHANCE_OF_STICKY) return NOT_ENOUGH;
    return { words: "sticky by " + (kept ? "connection" : "cookie") };
  }
  if (counts.length > 1) return NOT_ENOUGH;
  return kept ? { words: "one replica on this connection" } : judgeOne(counts);
};

// One replica gave all answers. Another one with a share above the limit would hardly have gone unseen.
const judgeOne = ([count]) => {
  const limit = Math.ceil(100 * (1 - MAX_CHANCE_OF_UNSEEN ** (1 / count)));
  return { words: "one replica only", detail: `, others under ${limit} %` };
};

// Do samples in a row come from the same replica more often than independent samples would?
const comesInRuns = (samples, pairs, stays) => {
  const chanceToStay = sum(sortedCounts(samples).map(count => (count / samples.length) ** 2));
  const expected = pairs.length * chanceToStay;
  return stays - expected > RUNS_DEVIATIONS * Math.sqrt(expected * (1 - chanceToStay));
};

// Several replicas gave independent answers: are their shares equal, and if not, what are they?
const judgeShares = counts => {
  const replicas = counts.length;
  const total = sum(counts);
  if (total < MIN_SAMPLES_PER_REPLICA * replicas) return NOT_ENOUGH;

  const equal = total / replicas;
  const isUneven = isSignificant(sum(counts.map(count => (count - equal) ** 2 / equal)), replicas - 1);
  const z = 2.6 + .3 * Math.log(replicas);  // about 99 % for the intervals of all replicas at once
  // How far may a true share be from the one that the verdict claims?
  const error = Math.max(...counts.map(count => {
    const claimed = isUneven ? count / total : 1 / replicas;
    const { low, high } = wilsonInterval(count, total, z);
    return Math.max(Math.abs(low - claimed), Math.abs(high - claimed));
  }));
  const detail = `, ±${Math.ceil(100 * error)} points`;

  if (!isUneven) {  // which does not yet mean even
    return error * replicas < MAX_ERROR_OF_EVEN ? { words: "even across " + replicas, detail } : NOT_ENOUGH;
  }
  if (error > MAX_ERROR_OF_WEIGHT || counts.at(-1) < MIN_COUNT_OF_WEIGHT || replicas > MAX_WEIGHTS) {
    return { words: "uneven across " + replicas };
  }
  const percentages = counts.map(count => Math.round(100 * count / total));
  return { words: "weighted about " + percentages.join(":"), detail };
};

const findVerdict = (allSamples, samples, kept, aliveReplicas) => {
  const counts = sortedCounts(samples);
  if (samples.length < MIN_SAMPLES || counts.length < aliveReplicas) return NOT_ENOUGH;

  const linked = samples.filter(sample => sample.withCookies);
  const pairs = linkedPairs(linked, kept);
  const stays = pairs.filter(({ sample, previous }) => sample.source == previous.source).length;
  if (pairs.length > 0 && stays == pairs.length) {
    const freeSamples = kept
      ? allSamples.filter(sample => !sample.kept)
      : samples.filter(sample => !sample.withCookies);
    return judgeSticky(counts, pairs, freeSamples, kept);
  }
  if (counts.length == 1) return judgeOne(counts);
  // Shares mean something only if each sample is drawn anew
  if (comesInRuns(linked, pairs, stays)) return { words: "in runs: sticky, or shifting" };
  return judgeShares(counts);
};

// What samples of replicas show, where all samples of one kind of connection (kept or not) are judged, and those of the
// other kind are there to compare with. `aliveReplicas` is the number of replicas known to be there: before each of
// them is among the samples, there is no verdict.
const judge = (allSamples, kept, aliveReplicas = 0) => {
  const samples = sinceSharesChanged(allSamples.filter(sample => sample.kept == kept));
  return { ...findVerdict(allSamples, samples, kept, aliveReplicas), samples: samples.length };
};
