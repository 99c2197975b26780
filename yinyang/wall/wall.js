let log, kinds, good, bad, latest, longest, gaps, since, spoken, busy = 0, ticked = 0;


const clock = () => performance.now();
const ago = s => s < 120 ? Math.round(s) + " s" : s < 7200 ? Math.round(s / 60) + " min" : Math.round(s / 3600) + " h";

const tally = list => {
  const counts = new Map;
  for (const { who } of list) counts.set(who, (counts.get(who) || 0) + 1);
  return counts;
};

// The interval of Wilson for a share
const bounds = (count, n, z) => {
  const middle = count + z * z / 2, half = z * Math.sqrt(count * (1 - count / n) + z * z / 4);
  return [(middle - half) / (n + z * z), (middle + half) / (n + z * z)];
};

// Chi-square of k - 1 degrees of freedom at 1e-4, by Wilson and Hilferty: 1 % for a hundred looks at the same tab
const beyond = (chi, k) => {
  const v = 2 / 9 / (k - 1);
  return chi > (k - 1) * (1 - v + 3.72 * Math.sqrt(v)) ** 3;
};

// What samples show, in words; `all` are valid and in order, `same` is how connections are asked for now
const judge = (all, same) => {
  let list = all.filter(s => s.same == same), half;
  while ((half = list.length >> 1) > 40) {  // only what came since the shares last changed
    const both = tally(list.slice(-2 * half)), later = tally(list.slice(-half));
    let chi = 0;
    for (const [who, sum] of both) chi += (sum - 2 * (later.get(who) || 0)) ** 2 / sum;
    if (both.size < 2 || !beyond(chi, both.size)) break;
    list = list.slice(-half);
  }
  const n = list.length, counts = [...tally(list).values()].sort((a, b) => b - a), k = counts.length;
  const wait = ["not enough samples yet", "", n];
  if (n < 30) return wait;

  // Tied: samples that share a cookie, or a connection, go where the one before went. That is a finding if those that
  // share none go elsewhere, so that it would hardly happen by chance.
  const chain = list.filter(s => !s.bare);
  const pairs = chain.map((s, i) => [s, chain[i - 1]]).filter(([s, before]) => before && (!same || s.nth > 1));
  const kept = pairs.filter(([s, before]) => s.who == before.who).length, m = pairs.length;
  const free = same ? all.filter(s => !s.same) : list.filter(s => s.bare), loose = [...tally(free).values()];
  if (m && kept == m) {
    if (loose.length > 1 || k > 1)
      return loose.length > 1 && free.length > 19 && bounds(Math.max(...loose), free.length, 3)[1] ** m < .001
        ? ["sticky by " + (same ? "connection" : "cookie"), "", n] : wait;
    if (same) return ["one replica on this connection", "", n];
  }
  if (k < 2) return ["one replica only", `, others under ${Math.ceil(100 - 100 * .01 ** (1 / n))} %`, n];

  // Shares have a meaning if each sample is drawn anew
  const p = [...tally(chain).values()].reduce((sum, count) => sum + (count / chain.length) ** 2, 0);
  if (kept - m * p > 5 * Math.sqrt(m * p * (1 - p))) return ["in runs: sticky, or shifting", "", n];

  if (n < 20 * k) return wait;
  const z = 2.6 + .3 * Math.log(k);  // of 99 % for k intervals at once
  const sloped = beyond(counts.reduce((sum, count) => sum + (count - n / k) ** 2, 0) * k / n, k);
  // How far from what is claimed may a share be?
  const off = Math.max(...counts.flatMap(count =>
    bounds(count, n, z).map(share => Math.abs(share - (sloped ? count / n : 1 / k)))));
  const more = `, ±${Math.ceil(100 * off)} points`;
  return !sloped
    ? off * k < .5 ? ["even across " + k, more, n] : wait  // not uneven is not yet even
    : off > .12 || counts[k - 1] < 5 || k > 8
      ? ["uneven across " + k, "", n]
      : ["weighted about " + counts.map(count => Math.round(100 * count / n)).join(":"), more, n];
};

const sample = async () => {
  const mine = log, same = keep.value;
  const bare = !same && Math.random() < .2;  // some without cookies, to tell whether these hold a replica
  let fault = "no connection", it;
  busy++;
  try {
    const answer = await fetch("whoami" + same, {
      cache: "no-store", credentials: bare ? "omit" : "same-origin", signal: AbortSignal.timeout(3000),
    });
    fault = "HTTP " + answer.status;
    const text = await answer.text();
    if (answer.ok) it = JSON.parse(text);
  } catch (error) {
    if (error.name == "TimeoutError") fault = "timed out";
  }
  busy--;
  if (mine != log) return;  // reset meanwhile

  const at = clock(), host = it?.host, ok = typeof host == "string";
  const key = ok ? host + "," + it.version : fault;
  let who = kinds.get(key);
  if (!who) {
    const [tile, lane] = model.content.cloneNode(true).children;
    const [one, two] = ok ? [0, 1].map(i => /^#[\da-f]{6}$/i.exec(it.colours?.[i]) || "#888") : ["#d33", "#0000"];
    who = { ok, tile, lane, first: at, seconds: [], turns: 0, css: `--a:${one};--b:${two}` };
    const [, name, , full] = tile.children;
    lane.firstChild.textContent = name.textContent = ok ? `${it.short || host} ${it.version || ""}` : fault;
    full.textContent = ok ? host : fault[0] == "n" ? "refused, reset, name or CORS" : "no whoami";
    tile.style = lane.style = who.css;
    tile.className = lane.className = ok ? "" : "fail";
    tiles.append(tile);
    lanes.append(lane);
    kinds.set(key, who);
  }
  const second = Math.floor(at / 1000), tick = stream.firstChild;
  if (who.seconds.at(-1) != second) who.seconds.push(second);
  who.it = it;
  who.at = at;
  who.gone = 0;
  who.tile.firstChild.style.rotate = (who.turns += 20) + "deg";
  tick.className = who.tile.className;
  tick.style = who.css;
  stream.append(tick);
  log.push({ who, at, same, bare, nth: it?.requests });
  if (log.length > 1000) log.shift();

  if (!ok) return bad = 1;
  if (bad && good) {
    latest = Math.round(at - good);
    longest = Math.max(longest, latest);
    gaps++;
  }
  good = at;
  bad = 0;
};

const draw = () => {
  const now = clock(), n = log.length, counts = tally(log), ok = log.filter(s => s.who.ok);
  const mine = ok.filter(s => s.same == keep.value), own = tally(mine);
  let from = 0;
  for (const [key, who] of kinds) {
    const { tile, lane, it, ok } = who, [, , share, , told, mark] = tile.children, silence = (now - who.at) / 1000;
    const count = counts.get(who) || 0, part = (100 * count / n || 0).toFixed(1) + "%";
    if (!count && silence > 180 || kinds.size > 200) {
      kinds.delete(key);
      tile.remove();
      lane.remove();
    }
    if (ok) {
      // Were its answers as likely at any time, would there be none among the last ones? The limit is e^-12.
      who.gone ||= own.get(who) * Math.log(mine.length / (mine.findLastIndex(s => s.who == who) + 1)) > 12;
      from = Math.max(from, who.gone ? who.at : who.first);
    }
    const age = (Date.now() - Date.parse(it?.started)) / 1000;
    tile.classList.toggle("gone", who.gone);
    tile.style.setProperty("--s", part);
    share.textContent = part;
    told.textContent = count + "×" + (age >= 0 ? ", up " + ago(age) : "");
    mark.textContent = who.gone ? "silent " + ago(silence)
      : (ok && it.draining ? "draining · " : "") + (silence < 2 ? "seen now" : "seen " + ago(silence) + " ago");
    const start = Math.floor(now / 1000) - 179;
    who.seconds = who.seconds.filter(second => second >= start);
    lane.lastChild.firstChild.setAttribute("d", who.seconds.map(second => `M${second - start},.5h1`).join(""));
  }
  const [words, more, size] = bad && good && now - good > 1500
    ? ["no valid answer for " + ago((now - good) / 1000), "", n] : judge(ok.filter(s => s.at > from), keep.value);
  verdict.textContent = words + more + ` (n=${size})`;
  const fails = n - ok.length, recent = log.filter(s => now - s.at < 5000).length;
  facts.textContent = `${(recent / Math.min(5, (now - since) / 1000)).toFixed(1)} answers/s · failed ${fails} of ${n}`
    + (gaps ? ` · gaps ${gaps}: latest ${latest} ms, longest ${longest} ms` : "");
  // Not each new figure is news to a listener
  if (spoken != (spoken = words.replace(/[\d:]/g, ""))) live.textContent = document.title = words;
};

const clear = () => {
  log = [];
  kinds = new Map;
  good = bad = latest = longest = gaps = 0;
  since = clock();
  tiles.textContent = lanes.textContent = "";
  stream.innerHTML = "<i></i>".repeat(100);
  draw();
};

const tick = () => {
  const now = clock();
  setTimeout(tick, 1000 / rate.value);
  if (now - ticked > 5000) good = 0;  // nobody looked meanwhile, so no gap can be told
  ticked = now;
  if (pause.ariaPressed != "true" && busy < (keep.value ? 1 : most.value)) sample();
};

pause.onclick = () => {
  pause.ariaPressed = pause.ariaPressed != "true";
  good = 0;
};
reset.onclick = clear;
clear();
tick();
setInterval(draw, 250);
