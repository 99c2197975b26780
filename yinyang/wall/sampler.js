"use strict";

// Asks for `whoami` again and again, through whatever stands in front of the replicas. Who wants the answers gets them as
// records, which are also the lines of a saved file and of the watch's --jsonl:
//   at       when it ended, in ms since 1970 (in a file: ISO 8601)
//   ms       how long it took
//   host, short, version, zone, node, colours, started, start_ms, draining   as the replica says; missing if nobody knows
//            who it was
//   failure  a status, or in words what went wrong; missing if it was answered as it should
//   tie      what it carried that may lead it to a certain replica: "cookie" or "connection"; missing if nothing
//   cookies  false if it used the connection that is for requests without cookies
//   uptime   ms since the replica started, by its own clock

const REQUEST_TIMEOUT = 3000;  // ms
const SLEEP_MIN = 1000;  // ms by which a timer is late, if the page did not run meanwhile
const PATIENCE_MIN = 1000;  // ms after which a request is given up, if others need its connection ...
const PATIENCE_FACTOR = 10;  // ... and this many times what answers take
const TIMES_KEPT = 100;  // of answers
const BURST_LENGTH = 100;  // samples
const BURST_INTERVAL = 10;  // ms
const LATE_MAX = 100;  // ms that a sample may be late without the next one being later, too
const CONNECTIONS_OF_BROWSER = 6;  // that it opens to one server, but for HTTP/2
const IN_FLIGHT_MAX = 30;  // over HTTP/2
const HOSTS_KEPT = 8;  // of the latest answers over HTTP/2 without cookies; more than one change among them is no accident
const PART_WITHOUT_COOKIES = .5;  // of samples, to tell whether cookies lead to a replica
const BODY_MAX = 65536;  // characters; whoami has some hundred
// beside this page, without the user's name that its own address may have
const BASE = new URL(location.pathname.endsWith("/") ? ".." : ".", location.origin + location.pathname);

const sampler = {
  rate: 10,
  keepsConnection: false,
  paused: false,
  fault: "",  // the part of a query that causes one
  starts: new Set(),  // each request under way: when it began, and what ends it
  times: [],  // how long the latest answers took, in ms
  needsLogin: false,  // without cookies, nothing but a login answers
  isMultiplexed: false,  // as over HTTP/2, requests with cookies share a connection, and those without another one
  hosts: [],  // that answered on the latter
  onRecord: () => {},
};

const now = () => performance.timeOrigin + performance.now();

// The present limit of requests under way
const inFlightMax = () => {
  if (sampler.isMultiplexed) return IN_FLIGHT_MAX;
  return sampler.keepsConnection ? 1 : CONNECTIONS_OF_BROWSER;
};

// How long a request may wait that keeps others from being sent: one that hangs is not to slow down the rate
const patience = () => {
  const sorted = [...sampler.times].sort((a, b) => a - b);
  const usual = sorted.length ? sorted[Math.floor(.99 * sorted.length)] : REQUEST_TIMEOUT;
  return Math.min(Math.max(PATIENCE_MIN, PATIENCE_FACTOR * usual), REQUEST_TIMEOUT);
};

const ask = async (kept, withCookies, aborter) => {
  const url = new URL("whoami", BASE);
  url.search = [kept ? "keep=1" : "", sampler.fault].filter(Boolean).join("&");
  const timer = setTimeout(() => aborter.abort(), REQUEST_TIMEOUT);
  try {
    const response = await fetch(url, {
      cache: "no-store",
      credentials: withCookies ? "same-origin" : "omit",
      redirect: "manual",
      signal: aborter.signal,
    });
    const text = (await response.text()).slice(0, BODY_MAX);  // an error's too, so that its connection is free again
    return { response, text };
  } catch {
    return { error: aborter.signal.aborted ? "timed out" : "no connection" };
  } finally {
    clearTimeout(timer);
  }
};

const parseWhoami = text => {
  try {
    const whoami = JSON.parse(text);
    return typeof whoami?.host == "string" && whoami.host ? whoami : null;
  } catch {
    return null;
  }
};

const isLogin = ({ type, status }) => type == "opaqueredirect" || status == 401 || status == 403;

const failureOf = ({ response, error }, whoami) => {
  if (error) return error;
  if (response.type == "opaqueredirect") return "redirected";
  if (!response.ok) return response.status;
  return whoami ? null : "not whoami";
};

const sample = async () => {
  const kept = sampler.keepsConnection;
  const withCookies = kept || sampler.needsLogin || Math.random() >= PART_WITHOUT_COOKIES;
  const start = { at: now(), aborter: new AbortController() };
  sampler.starts.add(start);
  const answer = await ask(kept, withCookies, start.aborter);
  sampler.starts.delete(start);
  const at = now();
  if (at - start.at > REQUEST_TIMEOUT + SLEEP_MIN) return;  // it was under way while the page slept, which is no finding
  if (!withCookies && answer.response && isLogin(answer.response)) {  // the probe's own doing, and no finding
    sampler.needsLogin = true;
    return;
  }
  const whoami = answer.response ? parseWhoami(answer.text) : null;
  const failure = failureOf(answer, whoami);
  if (sampler.isMultiplexed && !withCookies && whoami) sampler.hosts = [...sampler.hosts.slice(1 - HOSTS_KEPT), whoami.host];
  if (answer.response) sampler.times = [...sampler.times.slice(1 - TIMES_KEPT), at - start.at];
  sampler.onRecord({
    at,
    ms: at - start.at,
    ...(whoami && pick(whoami, answer.response)),
    ...(failure !== null && { failure }),
    ...tieOf(kept, withCookies, whoami),
  }, start);
};

// Over HTTP/2, a connection may lead to a replica unless the answers on it come from several: then each request is given
// to one, by its cookie if it has one.
const tieOf = (kept, withCookies, whoami) => {
  const changes = sampler.hosts.filter((host, index) => index && host != sampler.hosts[index - 1]).length;
  if (sampler.isMultiplexed && (kept || changes < 2)) return { tie: "connection", ...(!withCookies && { cookies: false }) };
  if (kept) return whoami?.requests > 1 && { tie: "connection" };
  return withCookies && !sampler.needsLogin && { tie: "cookie" };
};

const pick = (whoami, response) => {
  const { host, short, version, zone, node, colours, started, start_ms, draining } = whoami;
  const uptime = Date.parse(response.headers.get("Date")) - Date.parse(started);
  return { host, short, version, zone, node, colours, started, start_ms, draining, ...(uptime >= 0 && { uptime }) };
};

// Intervals are random, as those of independent visitors are: exact ones would keep step with a rotation that somebody
// else uses too, and see only a part of it. A request that finds too many others under way is left out rather than late.
// A timer is late by some ms, which the next interval makes up for, unless the page has slept.
let due = now();

const tick = () => {
  const at = now();
  if (at - due > LATE_MAX) due = at;
  due -= Math.log(1 - Math.random()) * 1000 / sampler.rate;
  setTimeout(tick, due - at);
  sampleIfPossible();
};

const sampleIfPossible = () => {
  if (sampler.paused) return;
  if (sampler.starts.size < inFlightMax()) {
    sample();
    return;
  }
  const [oldest] = sampler.starts;
  if (now() - oldest.at > patience()) oldest.aborter.abort();
};

const burst = () => {
  for (let number = 0; number < BURST_LENGTH; number++) setTimeout(sampleIfPossible, number * BURST_INTERVAL);
};

// Has the replica that answers do something; resolves to what it says
const command = async path => {
  try {
    const response = await fetch(new URL(path, BASE), { method: "POST" });
    return await response.text();
  } catch {
    return "no connection";
  }
};

const watchProtocol = () => {
  if (!window.PerformanceObserver?.supportedEntryTypes?.includes("resource")) return;
  new PerformanceObserver(list => {
    const last = list.getEntries().at(-1);
    if (last.nextHopProtocol) sampler.isMultiplexed = /^h[23]/.test(last.nextHopProtocol);
    performance.clearResourceTimings();
  }).observe({ type: "resource" });
};
