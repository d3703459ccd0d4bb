/* A librtlsdr without a dongle, for tests: under pyrtlsdr by LD_LIBRARY_PATH, under rtl_tcp by LD_PRELOAD.
 *
 * The file named by FAKE_RTLSDR_CONTROL holds a word for what the devices do, read before every buffer, and
 * perhaps the serial numbers of those that are plugged in, in the order of the bus; without them 00000001 is.
 * A device whose number is taken out of the file has been unplugged.
 *   ok      noise at the sample rate (times FAKE_RTLSDR_SPEED, default 1)
 *   absent  no device; a running read ends with LIBUSB_ERROR_NO_DEVICE, as after an unplug
 *   eio     a running read ends with LIBUSB_ERROR_IO
 *   short   one buffer is half as long, then as ok
 *   stall   no buffer comes any more
 *   segv    the process dies
 *   counter the receiver's test mode
 *   repeat  the same buffer again and again
 *   stuck   one value
 *   busy, denied  opening fails with LIBUSB_ERROR_BUSY, LIBUSB_ERROR_ACCESS
 *   hang    opening never returns
 *   shift   the first device is unplugged while another is looked up, and opened
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
typedef struct device {
    uint32_t frequency, rate;
    int gain, cancel, testmode;
    char serial[32];
} device;
typedef void (*read_callback)(unsigned char *buffer, uint32_t length, void *context);

static const int gains[] = {0, 9, 14, 27, 37, 77, 87, 125, 144, 157, 166, 197, 207, 229, 254,
                            280, 297, 328, 338, 364, 372, 386, 402, 421, 434, 439, 445, 480, 496};
enum { GAINS = sizeof gains / sizeof gains[0] };
static uint64_t state;

static uint64_t next_random(void) {
    if (!state) {
        FILE *file = fopen("/dev/urandom", "rb");
        if (!file || fread(&state, sizeof state, 1, file) != 1) state = 88172645463325252u;
        if (file) fclose(file);
    }
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

enum { MOST = 8 };
typedef struct bus {
    char mode[32], serials[MOST][32];
    int count;
} bus;

static bus look(void) {
    bus seen = {.mode = "ok", .serials = {"00000001"}, .count = 1};
    const char *path = getenv("FAKE_RTLSDR_CONTROL");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (file) {
        if (fscanf(file, "%31s", seen.mode) != 1) strcpy(seen.mode, "ok");
        int count = 0;
        while (count < MOST && fscanf(file, "%31s", seen.serials[count]) == 1) count++;
        if (count) seen.count = count;
        fclose(file);
    }
    if (strcmp(seen.mode, "absent") == 0) seen.count = 0;
    return seen;
}

static int mode_is(const char *wanted) { return strcmp(look().mode, wanted) == 0; }

static int is_gone(const device *dev) {
    bus seen = look();
    for (int i = 0; i < seen.count; i++)
        if (strcmp(seen.serials[i], dev->serial) == 0) return 0;
    return 1;
}

/* Binomial(7, 1/2) round 127: sigma 1.32, close to a terminated R820T at full gain. */
static void fill_noise(unsigned char *buffer, uint32_t length) {
    for (uint32_t i = 0; i < length; i++) {
        static uint64_t bits;
        if (i % 8 == 0) bits = next_random();
        buffer[i] = (unsigned char)(124 + __builtin_popcount((unsigned)(bits & 0x7f)));
        bits >>= 8;
    }
}

static void fill(device *dev, unsigned char *buffer, uint32_t length) {
    static unsigned char count;
    if (dev->testmode || mode_is("counter"))
        for (uint32_t i = 0; i < length; i++) buffer[i] = count++;
    else if (mode_is("stuck"))
        memset(buffer, 127, length);
    else if (!mode_is("repeat"))
        fill_noise(buffer, length);
}

static void pace(device *dev, uint32_t length) {
    const char *text = getenv("FAKE_RTLSDR_SPEED");
    double speed = text ? atof(text) : 1.0;
    double seconds = length / 2.0 / (dev->rate ? dev->rate : 1024000) / (speed > 0 ? speed : 1.0);
    struct timespec pause = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    nanosleep(&pause, NULL);
}

EXPORT uint32_t rtlsdr_get_device_count(void) { return (uint32_t)look().count; }
EXPORT const char *rtlsdr_get_device_name(uint32_t index) {
    return (int)index < look().count ? "Fake RTL2838" : "";
}
static int give_strings(char *maker, char *product, char *serial, const char *own) {
    if (maker) strcpy(maker, "Nobody");
    if (product) strcpy(product, "Fake RTL2838");
    if (serial) strcpy(serial, own);
    return 0;
}
EXPORT int rtlsdr_get_device_usb_strings(uint32_t index, char *maker, char *product, char *serial) {
    bus seen = look();
    if ((int)index >= seen.count) return -1;
    if (strcmp(seen.mode, "denied") == 0) return -3;
    return give_strings(maker, product, serial, seen.serials[index]);
}
EXPORT int rtlsdr_get_usb_strings(device *dev, char *maker, char *product, char *serial) {
    return dev ? give_strings(maker, product, serial, dev->serial) : -1;
}
EXPORT int rtlsdr_get_index_by_serial(const char *serial) {
    char own[32];
    int count = look().count;
    for (int i = 0; i < count; i++)
        if (rtlsdr_get_device_usb_strings((uint32_t)i, NULL, NULL, own) == 0 && strcmp(own, serial) == 0)
            return i;
    return count ? -3 : -2;
}
EXPORT int rtlsdr_open(device **dev, uint32_t index) {
    bus seen = look();
    if (strcmp(seen.mode, "shift") == 0) index++;
    if ((int)index >= seen.count) return -1;
    if (strcmp(seen.mode, "busy") == 0) return -6;
    if (strcmp(seen.mode, "denied") == 0) return -3;
    while (mode_is("hang")) usleep(20000);
    *dev = calloc(1, sizeof **dev);
    strcpy((*dev)->serial, seen.serials[index]);
    (*dev)->rate = 1024000;
    return 0;
}
EXPORT int rtlsdr_close(device *dev) {
    free(dev);
    return 0;
}
EXPORT int rtlsdr_set_center_freq(device *dev, uint32_t hertz) {
    dev->frequency = hertz;
    return 0;
}
EXPORT uint32_t rtlsdr_get_center_freq(device *dev) { return dev->frequency; }
EXPORT int rtlsdr_set_freq_correction(device *dev, int ppm) { return dev && ppm ? 0 : -2; }
EXPORT int rtlsdr_get_freq_correction(device *dev) { return dev ? 0 : -1; }
EXPORT int rtlsdr_get_tuner_type(device *dev) { return dev ? 5 : 0; }
EXPORT int rtlsdr_get_tuner_gains(device *dev, int *out) {
    if (dev && out) memcpy(out, gains, sizeof gains);
    return GAINS;
}
EXPORT int rtlsdr_set_tuner_gain(device *dev, int gain) {
    dev->gain = gain;
    return 0;
}
EXPORT int rtlsdr_get_tuner_gain(device *dev) { return dev->gain; }
EXPORT int rtlsdr_set_sample_rate(device *dev, uint32_t rate) {
    dev->rate = rate;
    return 0;
}
EXPORT uint32_t rtlsdr_get_sample_rate(device *dev) { return dev->rate; }
EXPORT int rtlsdr_set_testmode(device *dev, int on) {
    dev->testmode = on;
    return 0;
}
EXPORT int rtlsdr_get_xtal_freq(device *dev, uint32_t *rtl, uint32_t *tuner) {
    if (rtl) *rtl = 28800000;
    if (tuner) *tuner = 28800000;
    return dev ? 0 : -1;
}
EXPORT int rtlsdr_set_xtal_freq(device *dev, uint32_t rtl, uint32_t tuner) {
    return dev && rtl + tuner ? 0 : -1;
}
#define SETTER(name) \
    EXPORT int name(device *dev, int value) { return dev && value >= -1 ? 0 : -1; }
SETTER(rtlsdr_set_tuner_gain_mode)
SETTER(rtlsdr_set_agc_mode)
SETTER(rtlsdr_set_direct_sampling)
SETTER(rtlsdr_get_direct_sampling)
SETTER(rtlsdr_set_dithering)
SETTER(rtlsdr_set_offset_tuning)
SETTER(rtlsdr_get_offset_tuning)
SETTER(rtlsdr_set_tuner_bandwidth)
SETTER(rtlsdr_set_bias_tee)
SETTER(rtlsdr_set_gpio_output)
SETTER(rtlsdr_set_gpio_input)
SETTER(rtlsdr_set_gpio_byte)
EXPORT int rtlsdr_set_tuner_if_gain(device *dev, int stage, int gain) { return dev && stage + gain ? 0 : 0; }
EXPORT int rtlsdr_set_gpio_bit(device *dev, uint8_t pin, int value) { return dev && pin + value ? 0 : 0; }
EXPORT int rtlsdr_get_gpio_bit(device *dev, uint8_t pin, int *value) { return dev && pin && value ? 0 : 0; }
EXPORT int rtlsdr_get_gpio_byte(device *dev, int *value) { return dev && value ? 0 : 0; }
EXPORT int rtlsdr_set_gpio_status(device *dev, int *value) { return dev && value ? 0 : 0; }
EXPORT int rtlsdr_reset_buffer(device *dev) { return dev ? 0 : -1; }
EXPORT int rtlsdr_cancel_async(device *dev) {
    dev->cancel = 1;
    return 0;
}

EXPORT int rtlsdr_read_sync(device *dev, void *buffer, int length, int *read) {
    if (is_gone(dev)) return -4;
    if (mode_is("eio")) return -1;
    while (mode_is("stall")) usleep(20000);
    pace(dev, (uint32_t)length);
    fill(dev, buffer, (uint32_t)length);
    *read = mode_is("short") ? length / 2 : length;
    return 0;
}

EXPORT int rtlsdr_read_async(device *dev, read_callback callback, void *context, uint32_t count,
                             uint32_t length) {
    (void)count;
    if (!length) length = 262144;
    unsigned char *buffer = malloc(length);
    int result = 0, was_short = 0;
    fill_noise(buffer, length);
    dev->cancel = 0;
    while (!dev->cancel) {
        if (is_gone(dev)) {
            result = -5;
            break;
        }
        if (mode_is("eio")) {
            result = -1;
            break;
        }
        if (mode_is("segv")) raise(SIGSEGV);
        if (mode_is("stall")) {
            usleep(20000);
            continue;
        }
        pace(dev, length);
        fill(dev, buffer, length);
        int cut = mode_is("short") && !was_short;
        was_short = cut || (was_short && mode_is("short"));
        callback(buffer, cut ? length / 2 : length, context);
    }
    free(buffer);
    return result;
}
EXPORT int rtlsdr_wait_async(device *dev, read_callback callback, void *context) {
    return rtlsdr_read_async(dev, callback, context, 0, 0);
}
