// How figures are written.

export function figure(v) {
  if (v == null) return "–";
  if (v === 0) return "0";
  if (v < 0.1) return v.toFixed(2);
  if (v < 10) return String(+v.toFixed(1));
  if (v < 1000) return String(Math.round(v));
  if (v < 1e6) return +(v / 1000).toFixed(v < 1e4 ? 1 : 0) + "k";
  return +(v / 1e6).toFixed(1) + "M";
}

export function ms(v) {
  if (!v) return "–";
  if (v < 10) return v.toFixed(1) + " ms";
  if (v < 1000) return Math.round(v) + " ms";
  return (v / 1000).toFixed(v < 1e4 ? 2 : 1) + " s";
}

export const percent = (v) => +(100 * v).toFixed(v > 0 && v < 0.01 ? 2 : 1) + " %";

// span is how long something is ago, or to come.
export function span(seconds) {
  seconds = Math.max(0, Math.round(seconds));
  if (seconds < 60) return seconds + " s";
  if (seconds < 3600) return Math.floor(seconds / 60) + " min";
  if (seconds < 86400) return Math.floor(seconds / 3600) + " h " + Math.floor((seconds % 3600) / 60) + " min";
  return Math.floor(seconds / 86400) + " d";
}

export const since = (time) => Date.now() / 1000 - (typeof time === "number" ? time : Date.parse(time) / 1000);
export const clock = (time) => new Date(time).toLocaleTimeString([], { hour12: false });
