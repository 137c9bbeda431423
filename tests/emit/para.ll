kernel_0 measures a pair, kernel_7 decides over all, kernel_8 writes a pair.

CHECK-LABEL: define void @kernel_0(
CHECK:       call void @cmprt_qr(
CHECK:       call void @cmprt_qr(
CHECK:       call void @cmprt_gemm_f32(
CHECK:       call void @cmprt_svd(
CHECK:       ret void

CHECK-LABEL: define void @kernel_7(
CHECK:       call void @cmprt_order_f32(
CHECK:       ret void

CHECK-LABEL: define void @kernel_8(
CHECK:       call void @cmprt_qr(
CHECK:       call void @cmprt_qr(
CHECK:       call void @cmprt_gemm_f32(
CHECK:       call void @cmprt_svd(
CHECK:       call void @cmprt_gemm_f32(
CHECK:       call void @cmprt_gemm_f32(
CHECK:       ret void
