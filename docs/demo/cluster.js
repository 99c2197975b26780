"use strict";

// A simulated cluster behind a simulated balancer, in the page of the wall: `fetch` answers as replicas would, so that
// wall.js, which knows nothing of it, shows what it does. tools/make_demo.py puts both into one file.

const DEMO_COLOURS = [
  ["#00b4b4", "#f5b800"], ["#d1007a", "#b8f2ff"], ["#2f6b00", "#ffb3c7"], ["#5c2bd9", "#ffe14d"],
  ["#ff7a00", "#14213d"], ["#0072ce", "#d7ffb0"], ["#8c1c13", "#f7d6ff"], ["#3d405b", "#81f4e1"],
];
const LATENCY = [3, 12];  // ms that a healthy replica takes
const CHECK_INTERVAL = 1000;  // ms between health checks
const CHECKS_TO_FALL = 2;

const newReplica = (number, version) => ({
  host: `web-${version}-${"abcdefghijklmnop"[number % 16]}${number}`,
  short: `${version}-${number}`,
  version,
  zone: "zone-" + "ab"[number % 2],
  colours: DEMO_COLOURS[number % DEMO_COLOURS.length],
  started: new Date().toISOString(),
  weight: 1,
  credit: 0,  // of the smooth rotation
  isDead: false,
  isSlow: false,
  fails: false,
  draining: false,
  missedChecks: 0,
});

const demo = {
  replicas: [0, 1, 2].map(number => newReplica(number, "v1")),
  next: 3,
  way: "turns",
  checksHealth: true,
  sticky: null,  // the replica that a cookie leads to
};

const wait = ms => new Promise(done => setTimeout(done, ms));

const candidates = () => demo.replicas.filter(({ weight, missedChecks, draining }) =>
  weight > 0 && !draining && !(demo.checksHealth && missedChecks >= CHECKS_TO_FALL));

// Whom the balancer chooses; undefined if there is nobody
const choose = withCookies => {
  const replicas = candidates();
  if (demo.way == "cookie" && withCookies) {
    if (!replicas.includes(demo.sticky)) demo.sticky = replicas[Math.floor(Math.random() * replicas.length)];
    return demo.sticky;
  }
  const total = replicas.reduce((sum, { weight }) => sum + weight, 0);
  if (demo.way == "lot") {
    let left = Math.random() * total;
    return replicas.find(({ weight }) => (left -= weight) < 0);
  }
  // smooth weighted rotation, as nginx has it
  for (const replica of replicas) replica.credit += replica.weight;
  const chosen = replicas.reduce((best, one) => best && best.credit >= one.credit ? best : one, undefined);
  if (chosen) chosen.credit -= total;
  return chosen;
};

const respond = (status, body) => new Response(JSON.stringify(body), {
  status, headers: { "Content-Type": "application/json", Date: new Date().toUTCString() },
});

// Resolves, or rejects as fetch does when it is aborted
const patiently = (work, signal) => new Promise((done, failed) => {
  signal?.addEventListener("abort", () => failed(new DOMException("", "AbortError")));
  work.then(done, failed);
});

const answer = async (url, { credentials, method }) => {
  const replica = choose(credentials != "omit");
  const [least, most] = LATENCY;
  await wait(least + Math.random() * (most - least));
  if (method == "POST") return respond(403, "this is a simulation: use the buttons of the cluster");
  if (!replica) return respond(503, {});
  if (replica.isDead) return respond(503, {});
  const asked = url.searchParams;
  const isMeant = [null, replica.version, replica.short, replica.zone].includes(asked.get("if"));
  if (replica.isSlow) await wait(800);
  if (isMeant && asked.get("latency")) await wait(parseFloat(asked.get("latency")));
  const { host, short, version, zone, colours, started, draining } = replica;
  const fails = replica.fails ? Math.random() < .5 : isMeant && Math.random() * 100 < Number(asked.get("fail"));
  const whoami = { host, short, version, zone, colours, started, draining, requests: 1 };
  return fails ? respond(500, { status: 500, ...whoami }) : respond(200, whoami);
};

window.fetch = (url, options = {}) => patiently(answer(new URL(url, "http://demo/"), options), options.signal);

setInterval(() => {
  for (const replica of demo.replicas) replica.missedChecks = replica.isDead ? replica.missedChecks + 1 : 0;
}, CHECK_INTERVAL);


// The panel of the cluster

const addReplica = version => {
  demo.replicas.push(newReplica(demo.next++, version));
  showCluster();
};

const removeReplica = async replica => {
  replica.draining = true;
  showCluster();
  await wait(1000);
  demo.replicas = demo.replicas.filter(other => other != replica);
  showCluster();
};

const toggle = (replica, name) => {
  replica[name] = !replica[name];
  if (name == "isDead" && !replica.isDead) replica.started = new Date().toISOString();
  showCluster();
};

const roll = async () => {
  for (const old of demo.replicas.filter(({ version }) => version == "v1")) {
    addReplica("v2");
    await wait(2000);
    await removeReplica(old);
    await wait(2000);
  }
};

const button = (label, onClick, pressed) => {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: label });
  if (pressed !== undefined) made.setAttribute("aria-pressed", pressed);
  made.addEventListener("click", onClick);
  return made;
};

const choice = (label, options, value, onChange) => {
  const made = document.createElement("label");
  const select = document.createElement("select");
  select.append(...options.map(([text, key]) => new Option(text, key, false, key == value)));
  select.addEventListener("change", () => onChange(select.value));
  made.append(label + " ", select);
  return made;
};

const replicaRow = replica => {
  const row = document.createElement("div");
  const name = Object.assign(document.createElement("b"), { textContent: replica.short + " " });
  row.append(
    name,
    button("killed", () => toggle(replica, "isDead"), replica.isDead),
    button("slow", () => toggle(replica, "isSlow"), replica.isSlow),
    button("fails", () => toggle(replica, "fails"), replica.fails),
    button("remove", () => removeReplica(replica)),
    choice("weight", ["0", "1", "2", "3", "9"].map(text => [text, text]), String(replica.weight), value => {
      replica.weight = Number(value);
    }),
  );
  return row;
};

const panel = document.createElement("section");
panel.id = "cluster";
panel.setAttribute("aria-label", "The simulated cluster");

const showCluster = () => panel.replaceChildren(
  Object.assign(document.createElement("p"), { textContent: "A simulated cluster, in this page. Kill a replica, and watch:" }),
  choice("Balancer", [["takes turns", "turns"], ["by lot", "lot"], ["keeps a cookie", "cookie"]], demo.way, value => {
    demo.way = value;
  }),
  button("health checks", () => {
    demo.checksHealth = !demo.checksHealth;
    showCluster();
  }, demo.checksHealth),
  button("add v1", () => addReplica("v1")),
  button("add v2", () => addReplica("v2")),
  button("roll out v2", roll),
  ...demo.replicas.map(replicaRow),
);

showCluster();
document.querySelector("main").prepend(panel);
