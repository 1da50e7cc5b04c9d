// The charts: five minutes, drawn by uPlot.

const width = 300; // seconds

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const clock = (t) => new Date(t * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });

// chart draws series, each {color, fill, dash}. Labels are the elements that show the
// values, of now or under the pointer.
export function chart(place, series, labels, format) {
  let data = [[], ...series.map(() => [])];
  let plot;

  function show(index) {
    labels.forEach((label, i) => {
      const v = data[i + 1][index ?? data[0].length - 1];
      label.textContent = v == null ? "–" : format(v);
    });
  }

  function draw() {
    plot?.destroy();
    const axis = { stroke: color("--soft"), font: `11px ${getComputedStyle(document.body).fontFamily}`, ticks: { show: false } };
    plot = new uPlot({
      width: place.clientWidth, height: place.clientHeight, legend: { show: false }, padding: [6, 18, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: "page" }, points: { size: 5 } },
      scales: {
        x: { range: (_, _min, max) => [max - width, max] },
        y: { range: (_, _min, max) => [0, max > 0 ? max * 1.1 : 1] },
      },
      axes: [
        { ...axis, size: 24, incrs: [60], grid: { show: false }, values: (_, times) => times.map(clock) },
        { ...axis, size: 46, space: 28, grid: { stroke: color("--line"), width: 1 }, values: (_, all) => all.map((v) => (v ? format(v) : "0")) },
      ],
      series: [{}, ...series.map((s) => ({
        stroke: color(s.color), fill: s.fill && color(s.fill), dash: s.dash, width: 1.5, points: { show: false },
      }))],
      hooks: { setCursor: [(u) => show(u.cursor.idx)] },
    }, data, place);
  }

  draw();
  new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: place.clientHeight })).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  return {
    // begin forgets what was.
    begin() { data = data.map(() => []); },
    // add takes the values of a moment, if it is newer than what is there.
    add(time, values) {
      if (data[0].length && time <= data[0].at(-1)) return;
      [time, ...values].forEach((v, i) => data[i].push(v));
      while (data[0][0] < time - width) data.forEach((d) => d.shift());
    },
    show() {
      plot.setData(data);
      show(plot.cursor.idx);
    },
  };
}
