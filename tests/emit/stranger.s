The same after optimization: registers of eight, rounding and conversion by the CPU's own instructions; a sum of products
stays a multiplication and an addition.

CHECK-LABEL: kernel_0:
CHECK:       vmulss
CHECK-NEXT:  vaddss
CHECK:       vsqrtss
CHECK-DAG:   vcmpltps {{.*}}%ymm
CHECK-DAG:   vblendvps {{.*}}%ymm
CHECK-DAG:   vcvtps2ph $4,
CHECK-DAG:   vdivps {{.*}}%ymm
CHECK-DAG:   vroundps $8, {{.*}}%ymm
CHECK-DAG:   vcvttps2dq {{.*}}%ymm
CHECK:       vmulsd
CHECK-NEXT:  vaddsd
CHECK:       retq
