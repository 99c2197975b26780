// Load through a balancer with k6: which replica and which version answers, and is that as expected?
//
//     k6 run -e URL=http://localhost:8080 -e RATE=50 -e DURATION=30s -e EXPECT=v2=10%+-3 deploy/k6.js
//
// URL               where the replicas are served; what is asked is /whoami below it
// RATE, DURATION    requests per second, and for how long; --vus and --duration instead have clients that do not wait
// CONNECTION        new: a connection for each request, without cookies; same: each client keeps both
// EXPECT            shares of versions, as `yinyang watch --expect` has them: v1=90%+-3,v2=10%+-3
// EXPECT_REPLICAS   exactly so many replicas answer
// MAX_FAILED        percentage of requests that may fail
//
// The exit code is 99 if an expectation does not hold. docs/load.md says more.

import http from 'k6/http';
import { fail } from 'k6';
import { Counter, Rate } from 'k6/metrics';

const { URL = 'http://localhost:8080', CONNECTION = 'new', EXPECT = '', EXPECT_REPLICAS = '' } = __ENV;
const MAX_FAILED = Number(__ENV.MAX_FAILED || 0);
const RATE = Number(__ENV.RATE || 10);
const MARGIN = 5; // in points, where EXPECT has none
const PLACES = 100; // for replicas, and for versions
const NONE = '(none)'; // has no version, and is the replica of failures that no replica has signed
const OTHERS = '(others)'; // came later than the load, or found no place

const EXPECTED = EXPECT.split(',')
  .filter((text) => text)
  .map((text) => {
    const found = /^(.+?)=([\d.]+)%?(?:(?:±|\+-)([\d.]+)%?)?$/.exec(text);
    if (!found) throw new Error(`${text} is not a share such as v2=10%+-3`);
    return { version: found[1], percent: Number(found[2]), margin: Number(found[3] || MARGIN) };
  });

// k6 has to know all that it is to sum up before the first request, and so before any name. Therefore each replica and
// each version gets a number from setup(), the same for all clients. These numbers are tags, beside the names.
const requests = new Counter('requests');
const failures = new Counter('failures');
const answers = new Counter('answers');
const failed = new Rate('failed');
const share = new Rate('share');

function thresholds() {
  const all = { failed: [`rate<=${MAX_FAILED / 100}`], answers: ['count>0'] };
  for (const { version, percent, margin } of EXPECTED) {
    all[`share{of:${version}}`] = [`rate>=${(percent - margin) / 100}`, `rate<=${(percent + margin) / 100}`];
  }
  for (const by of ['replica', 'version']) {
    for (let number = 0; number < PLACES; number += 1) {
      all[`requests{${by}_number:${number}}`] = ['count>=0']; // holds; without it, k6 would not sum it up
      all[`failures{${by}_number:${number}}`] = ['count>=0'];
    }
  }
  if (EXPECT_REPLICAS) {
    for (let number = 2; number < PLACES; number += 1) {
      all[`answers{replica_number:${number}}`] = [number < Number(EXPECT_REPLICAS) + 2 ? 'count>0' : 'count==0'];
    }
    all['answers{replica_number:1}'] = ['count==0'];
  }
  return all;
}

export const options = {
  scenarios: {
    default: {
      executor: 'constant-arrival-rate',
      rate: RATE,
      duration: __ENV.DURATION || '30s',
      preAllocatedVUs: Math.ceil(RATE / 10) + 10, // enough for answers within 100 ms
      maxVUs: RATE + 100,
      gracefulStop: '5s',
    },
  },
  thresholds: thresholds(),
  noConnectionReuse: CONNECTION !== 'same',
  noCookiesReset: CONNECTION === 'same',
  discardResponseBodies: true,
};

const WHOAMI = `${URL.replace(/\/$/, '')}/whoami`;
const PARAMETERS = { timeout: '3s', tags: { name: 'whoami' } };

// Who gave an answer, and whether it is one.
function told(answer) {
  const replica = answer.headers['X-Served-By'] || NONE;
  const version = answer.headers['X-Version'] || NONE;
  return { replica, version, ok: answer.status >= 200 && answer.status < 400 && replica !== NONE };
}

// Looks who is there, as new clients without cookies: until 100 requests in a row have found nobody new.
export function setup() {
  const names = { replica: [NONE, OTHERS], version: [NONE, OTHERS, ...EXPECTED.map(({ version }) => version)] };
  let since = 0;
  while (since < 100) {
    since += 20;
    const clients = Array.from({ length: 20 }, () => ({ ...PARAMETERS, jar: new http.CookieJar() }));
    for (const answer of http.batch(clients.map((client) => ['GET', WHOAMI, null, client]))) {
      const found = told(answer);
      for (const by of ['replica', 'version']) {
        if (names[by].length < PLACES && !names[by].includes(found[by])) {
          names[by].push(found[by]);
          since = 0;
        }
      }
    }
  }
  if (names.replica.length === 2) fail(`no replica answers at ${URL}`);
  return names;
}

const number = (names, name) => String(names.includes(name) ? names.indexOf(name) : names.indexOf(OTHERS));

export default function load(names) {
  const { replica, version, ok } = told(http.get(CONNECTION === 'same' ? `${WHOAMI}?keep=1` : WHOAMI, PARAMETERS));
  const tags = {
    replica,
    version,
    replica_number: number(names.replica, replica),
    version_number: number(names.version, version),
  };
  requests.add(1, tags);
  failed.add(!ok, tags);
  if (!ok) {
    failures.add(1, tags);
    return;
  }
  answers.add(1, tags);
  for (const expected of EXPECTED) share.add(version === expected.version, { of: expected.version });
}

export function handleSummary(data) {
  const values = (metric) => (data.metrics[metric] ? data.metrics[metric].values : {});
  const count = (metric) => values(metric).count || 0;
  const percent = (part) => `${(100 * (part || 0)).toFixed(1)} %`;
  const { rate = 0 } = values('requests');
  const { med = 0, 'p(95)': most = 0 } = values('http_req_duration');
  const lines = [
    '',
    `${count('requests')} requests, ${rate.toFixed(1)}/s, ${count('failures')} failed`,
    `half of the answers within ${med.toFixed(1)} ms, 95 % within ${most.toFixed(1)} ms`,
  ];
  const names = data.setup_data || { replica: [], version: [] };
  let replicas = 0;
  for (const by of ['version', 'replica']) {
    const width = Math.max(by.length, ...names[by].map((name) => name.length));
    lines.push('', `${by.padEnd(width)}  requests  failed    share`);
    const table = names[by].map((name, at) => {
      const asked = count(`requests{${by}_number:${at}}`);
      const wrong = count(`failures{${by}_number:${at}}`);
      const part = percent((asked - wrong) / Math.max(count('answers'), 1));
      if (by === 'replica' && asked > wrong) replicas += 1;
      const numbers = `${String(asked).padStart(8)}  ${String(wrong).padStart(6)}  ${part.padStart(7)}`;
      return asked ? `${name.padEnd(width)}  ${numbers}` : '';
    });
    lines.push(...table.filter((line) => line).sort());
  }
  const say = (expected, seen, ...metrics) => {
    const holds = metrics.every((metric) => Object.values(data.metrics[metric].thresholds).every(({ ok }) => ok));
    lines.push(`${holds ? '✓' : '✗'} expected ${expected}, seen: ${seen}`);
  };
  lines.push('');
  say('an answer', `${count('answers')} answers`, 'answers');
  say(`at most ${MAX_FAILED} % of requests to fail`, percent(values('failed').rate), 'failed');
  if (EXPECT_REPLICAS) {
    const metrics = Object.keys(data.metrics).filter((metric) => metric.startsWith('answers{'));
    say(`${EXPECT_REPLICAS} replicas`, replicas, ...metrics);
  }
  for (const { version, percent: asked, margin } of EXPECTED) {
    const metric = `share{of:${version}}`;
    const seen = `${percent(values(metric).rate)} of ${count('answers')}`;
    say(`${version} to give ${asked} % of the answers, give or take ${margin}`, seen, metric);
  }
  if (count('dropped_iterations')) {
    lines.push(`! ${count('dropped_iterations')} requests were not sent, as all clients still waited for answers`);
  }
  return { stdout: `${lines.join('\n')}\n` };
}
