// The page that came with this script is whole. The script asks for it again, puts what changed in the place of the old,
// and lets ages grow in between.
"use strict";

const every = 2000; // ms between two questions
const patience = 5000; // ms for an answer
const silence = 4500; // ms without one, after which the page says so

let ahead = 0; // of the worker's clock, in ms
let heard = Date.now();
let timer;
let chosen = null; // data-at of the pass that is read out; null: the newest
const shown = {}; // by id of a live part, what of it does not change by itself

const two = (n) => String(n).padStart(2, "0");

function clock(at) {
	const time = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
	if (at.toDateString() === new Date(Date.now() + ahead).toDateString()) return time;
	return [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-") + " " + time;
}

function span(ms) {
	const s = Math.max(0, Math.floor(ms / 1000));
	if (s < 60) return s + " s";
	if (s < 3600) return Math.floor(s / 60) + " min " + (s % 60) + " s";
	if (s < 86400) return Math.floor(s / 3600) + " h " + (Math.floor(s / 60) % 60) + " min";
	return Math.floor(s / 86400) + " d " + (Math.floor(s / 3600) % 24) + " h";
}

// said is a pass in words, and because why it went wrong.
const said = (bar) => clock(new Date(bar.dataset.at)) + " " + bar.dataset.text;
const because = (bar) => (bar.dataset.why ? " · " + bar.dataset.why : "");

// localize writes the times below root by the clock of who reads them, and empties those that tick.
function localize(root) {
	for (const time of root.querySelectorAll("time")) {
		const at = new Date(time.dateTime);
		time.title = time.dateTime;
		time.textContent = "age" in time.dataset || "until" in time.dataset ? "" : clock(at);
	}
	for (const bar of root.querySelectorAll("g[data-at]")) {
		bar.querySelector("title").textContent = said(bar) + because(bar);
	}
}

function tick(root) {
	const now = Date.now() + ahead;
	for (const time of root.querySelectorAll("time[data-age]")) time.textContent = span(now - new Date(time.dateTime));
	for (const time of root.querySelectorAll("time[data-until]")) time.textContent = span(new Date(time.dateTime) - now);
}

// take puts the live parts of a page in the place of those that are shown, where they differ.
function take(page) {
	ahead = new Date(page.querySelector("main").dataset.now) - Date.now();
	for (const part of page.querySelectorAll("[data-live]")) {
		localize(part);
		const here = document.getElementById(part.id);
		if (!here || shown[part.id] === part.innerHTML) continue;
		shown[part.id] = part.innerHTML;
		if (page !== document) here.replaceChildren(...part.childNodes);
	}
	tick(document);
	document.title = page.title;
	document.documentElement.classList.remove("lost");
	announce();
	readOut();
}

// announce tells those who do not see the page how things stand, when that has changed and not each time a number does.
function announce() {
	const state = document.querySelector("#state .state");
	const text = state.querySelector("h1").textContent + ". " + (state.querySelector(".why")?.firstChild.textContent ?? "");
	const here = document.getElementById("announcement");
	if (here.textContent !== text) here.textContent = text;
}

async function ask(address) {
	const answer = await fetch(address, { signal: AbortSignal.timeout(patience) });
	if (!answer.ok) throw new Error(answer.statusText);
	return new DOMParser().parseFromString(await answer.text(), "text/html");
}

async function poll() {
	clearTimeout(timer);
	try {
		const page = await ask("./");
		heard = Date.now();
		take(page);
	} catch {
		if (Date.now() - heard > silence) lose();
	}
	clearTimeout(timer);
	timer = setTimeout(poll, every);
}

// lose says that the worker does not answer. All else on the page is of the past.
function lose() {
	if (document.documentElement.classList.contains("lost")) return;
	document.documentElement.classList.add("lost");
	delete shown.state;
	const state = document.querySelector("#state .state");
	state.className = "state lost";
	state.querySelector("use").setAttribute("href", "#mark-lost");
	state.querySelector("h1").textContent = "No answer since " + clock(new Date(heard));
	for (const p of state.querySelectorAll("p")) p.remove();
	const why = document.createElement("p");
	why.className = "why";
	why.textContent = "The worker has ended, hangs, or cannot be reached from here. What stands below is from then. Another worker may be at work.";
	state.append(why);
	document.title = "No answer · slotsync";
	announce();
}

// The strip is read with the pointer or, as a slider, with the keyboard.
const strip = document.getElementById("strip");
const readout = document.getElementById("readout");

// bars are the passes that there is room for, the oldest first.
function bars() {
	const all = [...strip.querySelectorAll("g[data-at]")];
	return all.slice(-Math.max(1, Math.floor(Math.min(strip.clientWidth, 960) / 12)));
}

function readOut() {
	const all = bars();
	if (all.length === 0) return;
	let at = all.findIndex((bar) => bar.dataset.at === chosen);
	const cursor = strip.querySelector(".cursor");
	if (at < 0) {
		at = all.length - 1;
		chosen = null;
		cursor.setAttribute("x", -12);
	} else {
		cursor.setAttribute("x", all[at].querySelector(".reach").getAttribute("x"));
	}
	const text = said(all[at]) + (chosen === null ? "" : because(all[at])); // why the newest went wrong stands at the top
	if (readout.textContent !== text) readout.textContent = text;
	strip.tabIndex = 0;
	strip.setAttribute("role", "slider");
	strip.setAttribute("aria-label", "Passes, the newest last");
	strip.setAttribute("aria-valuemin", 1);
	strip.setAttribute("aria-valuemax", all.length);
	strip.setAttribute("aria-valuenow", at + 1);
	strip.setAttribute("aria-valuetext", text);
}

function choose(bar) {
	chosen = bar ? bar.dataset.at : null;
	readOut();
}

strip.addEventListener("pointermove", (event) => choose(event.target.closest("g[data-at]")));
strip.addEventListener("pointerleave", () => choose(null));
strip.addEventListener("blur", () => choose(null));
strip.addEventListener("keydown", (event) => {
	const all = bars();
	const at = chosen === null ? all.length - 1 : all.findIndex((bar) => bar.dataset.at === chosen);
	const to = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, Home: 0, End: all.length - 1 }[event.key];
	if (to === undefined || all.length === 0) return;
	event.preventDefault();
	choose(all[Math.min(all.length - 1, Math.max(0, to))]);
});

const form = document.getElementById("form");
form.addEventListener("submit", async (event) => {
	event.preventDefault();
	const answer = document.getElementById("answer");
	const address = "./?" + new URLSearchParams(new FormData(form));
	try {
		const part = (await ask(address)).getElementById("answer");
		localize(part);
		answer.replaceChildren(...part.childNodes);
		history.replaceState(null, "", address);
	} catch {
		answer.textContent = "The worker does not answer.";
	}
});

document.getElementById("zone").textContent = "those of this browser, " + Intl.DateTimeFormat().resolvedOptions().timeZone;
localize(document);
take(document);
timer = setTimeout(poll, every);
setInterval(() => tick(document), 1000);
addEventListener("resize", readOut);
document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
